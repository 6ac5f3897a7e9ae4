"""What tells a node who is in one room: its diffs, put in order by rooms/sequence.py, and the state that they lead to.

Diffs are kept nowhere. Where one is missing, the members are read anew, once for all who hear the room here, and what has changed
since is told as diffs that go on from the last one. So a client never has to read a list again for what its node has missed.

What is read has changes that its room has not told yet; who is known from there is told as `updated` then, so that nobody joins
twice. Nothing else is left out of a diff: those who have its version from elsewhere, a list or another node, know other changes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from operator import attrgetter
from typing import Any, Protocol
from uuid import UUID

import orjson

from core.clock import Clock
from rooms.presence.counts import PresenceCounts
from rooms.presence.page import MOST_OF_A_PAGE, Count, Member, PresencePage
from rooms.presence.store import MOST_OF_A_DIFF
from rooms.presence.wire import Diff, decode_diff
from rooms.sequence import Bounds, Full, SequenceFeed, Spawn

BOUNDS = Bounds(ring_entries=1, ring_size=64 * 1024, held_entries=256, held_size=4 * 1024 * 1024)
# After Redis has lost a room all nodes register what they have: who is missing before that has not left.
SETTLE_SECONDS = 3.0
_LISTS = ("joined", "left", "updated")


class PresenceSink(Protocol):
    """Takes what presence brings, synchronously; it must not raise."""

    def tell(self, org_id: UUID, channel: str, diffs: Sequence[Diff]) -> Full | None:
        """Take diffs of a room, each of which goes on from the one before. Nothing more comes before what is returned is done."""
        ...


class Pages(Protocol):
    """What is read of rooms here (rooms.presence.store.PresenceStore)."""

    async def page(self, org_id: UUID, channel: str, after: str | None = None, *, limit: int) -> PresencePage:
        """Return a page of a room's members. Raises HubError while Redis is away."""
        ...


class PresenceFeed(SequenceFeed[Diff]):
    """The presence of one room on a node; numbers are versions. Made by Presence; `start()` makes it usable.

    count     how many there were at `last`
    """

    _waiting_event = "presence_waits_for_redis"

    def __init__(
        self,
        org_id: UUID,
        channel: str,
        *,
        store: Pages,
        sink: PresenceSink,
        clock: Clock,
        spawn: Spawn,
        counts: PresenceCounts,
        settle: float = SETTLE_SECONDS,
    ) -> None:
        decode = partial(decode_diff, channel)
        super().__init__(org_id, decode=decode, number=attrgetter("position"), bounds=BOUNDS, clock=clock, spawn=spawn)
        self.channel = channel
        self.count = Count(0, 0)
        self._store = store
        self._sink = sink
        self._counts = counts
        self._settle = settle
        # By subject, as clients see them.
        self._members: dict[str, bytes] = {}

    async def start(self) -> None:
        """Begin with the members as they are. Redis must have confirmed the subscription.

        Raises HubError while Redis does not answer; starting again is right then.
        """
        head, self._members = await self._read()
        self.count = head.count
        self._begin(head.epoch, head.version, [])
        self._mend_if_needed()

    def _deliver(self, entries: list[Diff]) -> Full | None:
        self._counts.diffs += len(entries)
        return self._sink.tell(self.org_id, self.channel, [self._applied(entry) for entry in entries])

    def _applied(self, diff: Diff) -> Diff:
        """Take a diff, and return it with everybody in the list that is right for those who know what is known here."""
        told: Mapping[str, Any] = orjson.loads(f"{{{diff.envelope}}}")
        now = {member["subject"]: orjson.dumps(member) for member in (*told["joined"], *told["updated"])}
        gone = [member["subject"] for member in told["left"]]
        known = self._members
        is_right = all(each["subject"] not in known for each in told["joined"])
        if not (is_right and all(each["subject"] in known for each in told["updated"])):
            there = [("updated" if subject in known else "joined", text) for subject, text in now.items()]
            diff = replace(diff, envelope=_body([*there, *map(_left, gone)], told["count"]))
        known |= now
        for subject in gone:
            known.pop(subject, None)
        self.count = Count(**told["count"])
        return diff

    def _missing(self) -> bool:
        # What is held waits for a check that is due: the room may be another than the one that it goes on from.
        return self._must_check or super()._missing()

    async def _mend_once(self) -> None:
        """See where the room is, and where that is not where it is here, read its members anew and tell what is other."""
        self._must_check = False
        try:
            head = await self._store.page(self.org_id, self.channel, limit=0)
            if (head.epoch, head.version) == (self.epoch, self.last) and not self._gap:
                return
            if head.epoch != self.epoch:
                self._warn("presence_reset", epoch=head.epoch, channel=self.channel)
                # Nothing goes out between the end of one life and the beginning of the next.
                self._target = max(self._target, self.last + 1)
                await self._clock.sleep(self._settle)
            head, members = await self._read()
            if head.epoch != self.epoch or head.version > self.last:
                self._go_on_from(head, members)
        except BaseException:
            self._must_check = True
            raise

    def _go_on_from(self, head: PresencePage, members: dict[str, bytes]) -> None:
        """Begin a new life at `head`, and tell what has changed since the old one."""
        after, before = self.last, self._members
        held = [each for each in self._held if head.epoch == each.epoch and each.position > head.version]
        self._begin(head.epoch, head.version, [])
        self._members, self.count = members, head.count
        diffs = diffs_of(self.channel, before, members, head, after)
        self._counts.diffs += len(diffs)
        self._full = self._sink.tell(self.org_id, self.channel, diffs)
        self._hold(held)
        self._tell_waiting()

    async def _read(self) -> tuple[PresencePage, dict[str, bytes]]:
        """Return the first page, and all members. What changes while pages are read is in diffs above the first one's version."""
        first = page = await self._store.page(self.org_id, self.channel, limit=MOST_OF_A_PAGE)
        members = _shown(page.members)
        while page.next is not None:
            page = await self._store.page(self.org_id, self.channel, page.next, limit=MOST_OF_A_PAGE)
            members |= _shown(page.members)
        return first, members


def diffs_of(
    channel: str, before: Mapping[str, bytes], now: Mapping[str, bytes], head: PresencePage, after: int
) -> list[Diff]:
    """Return what leads from one state, at version `after`, to another, at `head`, in diffs of bounded size.

    All but the last stay at `after`, so that a client that has not got the last one knows that it has not arrived.
    """
    told = _changes(before, now)
    diffs: list[Diff] = []
    for start in range(0, max(1, len(told)), MOST_OF_A_DIFF):
        body = _body(told[start : start + MOST_OF_A_DIFF], head.count.shown())
        is_last = start + MOST_OF_A_DIFF >= len(told)
        diffs.append(Diff(head.version if is_last else after, channel, body, head.epoch, after))
    return diffs


def _changes(before: Mapping[str, bytes], now: Mapping[str, bytes]) -> list[tuple[str, bytes]]:
    """Return what leads from one state to the other: of which list each is, and its JSON."""
    joined = [("joined", text) for subject, text in now.items() if subject not in before]
    left = [_left(subject) for subject in before if subject not in now]
    return [*joined, *left, *(("updated", text) for each, text in now.items() if before.get(each, text) != text)]


def _left(subject: str) -> tuple[str, bytes]:
    return "left", b'{"subject":%b}' % orjson.dumps(subject)


def _body(told: Sequence[tuple[str, bytes]], count: Mapping[str, int]) -> str:
    texts = {name: b",".join(text for of, text in told if of == name).decode() for name in _LISTS}
    lists = "".join(f'"{name}":[{text}],' for name, text in texts.items())
    return f'{lists}"count":{orjson.dumps(count).decode()}'


def _shown(members: Sequence[Member]) -> dict[str, bytes]:
    return {member.subject: orjson.dumps(member.shown()) for member in members}
