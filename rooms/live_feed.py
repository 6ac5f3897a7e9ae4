"""What carries live rooms to a node: one room, or all rooms of a shared namespace, put in order by rooms/sequence.py.

The history is bounded and can be lost: where it does not reach back to what is missing, or has another epoch, the room's members
are told by a reset, and go on from where the room is.
"""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Literal, Protocol
from uuid import UUID

from core.clock import Clock
from core.events.event import Entry
from rooms.amendments import amendment_of
from rooms.live_rules import LIVE, LiveRules
from rooms.live_store import Head, Snapshot
from rooms.live_wire import LiveEntry, decode_message, decode_signal
from rooms.sequence import Bounds, Full, SequenceFeed, Spawn

PAGE = 256
BOUNDS = Bounds(ring_entries=1_024, ring_size=1024 * 1024, held_entries=2_048, held_size=2 * 1024 * 1024)

Reason = Literal["epoch", "offset", "history"]


class LiveSink(Protocol):
    """Takes what live rooms bring, synchronously; it must not raise."""

    def deliver(self, org_id: UUID, entries: Sequence[Entry]) -> Full | None:
        """Take entries: in order, each once, all that one read brought together."""
        ...

    def deliver_latest(self, org_id: UUID, entries: Sequence[Entry], rules: LiveRules) -> None:
        """Take entries of one room whose members get the newest of each key, as soon as each can read."""
        ...

    def settle(self, org_id: UUID, channel: str) -> None:
        """Hand over what waits for members of a room: from now on it delivers in another way."""
        ...

    def signal(self, org_id: UUID, channel: str, envelope: str) -> None:
        """Take what is for those who are in a room now and can read, and is not kept."""
        ...

    def reset_room(self, org_id: UUID, channel: str, epoch: str, offset: int, reason: str) -> None:
        """Tell the members of a room that what was before `offset` will not come."""
        ...

    def channels(self, org_id: UUID, prefix: str) -> list[str]:
        """Return the channels that have members here and begin with `prefix`."""
        ...


class Store(Protocol):
    """What is read of rooms here (rooms.live_store.LiveStore). Every method may raise HubError while Redis is away."""

    async def read(
        self,
        org_id: UUID,
        channel: str,
        direction: Literal["after", "before"] = "after",
        offset: int | None = None,
        *,
        limit: int,
    ) -> Snapshot:
        """Read a part of a history, oldest first."""
        ...

    async def heads(self, org_id: UUID, channels: Sequence[str]) -> list[Head]:
        """Return where rooms are, at one moment."""
        ...


class LiveFeed(SequenceFeed[LiveEntry]):
    """One carrier on a node; the numbers are its sequence. Made by LiveRooms; `start()` makes it usable.

    reason    why the present life began
    """

    _waiting_event = "live_feed_waits_for_redis"

    def __init__(
        self,
        org_id: UUID,
        carrier: str,
        *,
        store: Store,
        sink: LiveSink,
        clock: Clock,
        spawn: Spawn,
        rules: LiveRules | None = None,
    ) -> None:
        super().__init__(
            org_id, decode=decode_message, number=attrgetter("sequence"), bounds=BOUNDS, clock=clock, spawn=spawn
        )
        self.carrier = carrier
        self.reason: Reason = "epoch"
        self.is_shared = carrier in LIVE
        self._rules = rules
        self._latest = _latest_of(rules)
        self._store = store
        self._sink = sink
        self._tops: dict[str, Head] = {}

    def rule(self, rules: LiveRules | None) -> None:
        """Deliver by these rules from now on; what waits for members by others is handed over first."""
        self._rules = rules
        latest = _latest_of(rules)
        if _way_of(latest) != _way_of(self._latest):
            self._sink.settle(self.org_id, self.carrier)
        self._latest = latest

    def since(self, sequence: int, channel: str) -> list[LiveEntry] | None:
        """Return what was handed over of `channel` after `sequence`; None where that is not in memory, or not known yet."""
        if sequence > self.last:
            return None
        entries = self._ring.since(sequence)
        return None if entries is None else [e for e in entries if e.channel == channel]

    def top(self, channel: str) -> Head | None:
        """Return up to where `channel` was handed over; in a shared carrier only of channels that are followed."""
        return self._tops.get(channel) if self.is_shared else Head(self.epoch, self.last)

    def follow(self, channel: str, top: Head) -> None:
        """Keep the top of a shared carrier's channel from now on, from `top`."""
        if self.is_shared:
            self._tops[channel] = top

    def forget(self, channel: str) -> None:
        """Keep the top of `channel` no more."""
        self._tops.pop(channel, None)

    async def start(self) -> None:
        """Begin at the room's head, with the end of its history in memory. Redis must have confirmed the subscription.

        Raises HubError while Redis does not answer; starting again is right then.
        """
        found = await self._store.read(self.org_id, self.carrier, "before", limit=PAGE)
        before = found.entries
        is_dense = bool(before) and before[0].sequence == found.head.position - len(before) + 1
        self._begin(found.head.epoch, found.head.position, before if is_dense else [])
        self._mend_if_needed()

    async def checked(self) -> None:
        """Compare with Redis; return when everything is there that was published before this call."""
        self.check()
        await self.until(lambda: self._mending is None)

    def _deliver(self, entries: list[LiveEntry]) -> Full | None:
        if self._tops:
            for entry in entries:
                if entry.channel in self._tops:
                    self._tops[entry.channel] = Head(entry.epoch, entry.position)
        if self._latest is not None:
            return self._sink.deliver_latest(self.org_id, entries, self._latest)
        if self._rules is not None and self._rules.is_edited:
            self._amend(entries)
        return self._sink.deliver(self.org_id, entries)

    def _amend(self, entries: list[LiveEntry]) -> None:
        """Have memory say of what was changed or removed what the history says."""
        for entry in entries:
            amendment = amendment_of(entry.envelope)
            if amendment is not None:
                self._ring.change(amendment.offset, amendment.applied)

    def _takes(self, payload: bytes) -> bool:
        signal = decode_signal(payload)
        if signal is None:
            return False
        self._sink.signal(self.org_id, *signal)
        return True

    def _missing(self) -> bool:
        # What is held waits for a check that is due: the room may be another than the one that it goes on from.
        return self._must_check or super()._missing()

    async def _mend_once(self) -> None:
        """Read one page of what is missing, and hand it over; begin a new life where that cannot be."""
        self._must_check = False
        try:
            after, published = self.last, max(self.last, self._target)
            found = await self._store.read(self.org_id, self.carrier, "after", after, limit=PAGE)
            if found.head.epoch != self.epoch:
                await self._restart("epoch")
            elif found.head.position < published:
                await self._restart("offset")
            elif not found.continues(after):
                await self._restart("history")
            else:
                # Messages that went on from `last` may have come while this was read: the answer may be older than they are.
                self._target = max(self._target, found.head.position)
                following = dense([each for each in found.entries if each.sequence > self.last], self.last)
                if following and self._full is None:  # what came meanwhile may have filled it
                    self._hand_over(following)
        except BaseException:
            self._must_check = True
            raise

    async def _restart(self, reason: Reason) -> None:
        """Begin a new life where the room is now, and tell the members of every room that it carries."""
        told: dict[str, Head] = {}
        # Nothing goes out between the answer and the reset.
        self._target = max(self._target, self.last + 1)
        while True:
            # Whoever joins while this waits may miss what it skips, and is told as well.
            channels = self._sink.channels(self.org_id, f"{self.carrier}:") if self.is_shared else []
            if told and told.keys() >= {*channels, self.carrier}:
                break
            asked = [self.carrier, *channels]
            told = dict(zip(asked, await self._store.heads(self.org_id, asked), strict=True))
        head = told[self.carrier]
        self._warn("live_feed_reset", reason=reason, epoch=head.epoch, sequence=head.position, last=self.last)
        self.reason = reason
        held = [e for e in self._held if head.epoch == self.epoch and e.sequence > head.position]
        self._begin(head.epoch, head.position, [])
        if self.is_shared:
            del told[self.carrier]
        for channel, at in told.items():
            if channel in self._tops:
                self._tops[channel] = at
            self._sink.reset_room(self.org_id, channel, at.epoch, at.position, reason)
        self._hold(held)
        self._tell_waiting()

    def _warn(self, event: str, **values: Any) -> None:
        super()._warn(event, carrier=self.carrier, **values)


def _latest_of(rules: LiveRules | None) -> LiveRules | None:
    return rules if rules is not None and rules.delivery == "latest" else None


def _way_of(latest: LiveRules | None) -> tuple[str, str] | None:
    return None if latest is None else (latest.keyed, latest.key)


def dense(entries: list[LiveEntry], after: int) -> list[LiveEntry]:
    """Return the entries of one stream that go on from `after` without a gap."""
    dense: list[LiveEntry] = []
    for entry in entries:
        if entry.sequence != after + 1 + len(dense):
            break
        dense.append(entry)
    return dense
