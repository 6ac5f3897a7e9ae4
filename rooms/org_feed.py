"""The feed of one organisation on a node: what Redis carries of the log, put in order (rooms/sequence.py), into the sink.

What is missing is read from the tail, else from PostgreSQL. A position that was published is committed, and so are all below it:
whatever Redis loses can be read from PostgreSQL.
"""

from collections import Counter
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Protocol
from uuid import UUID

from core.clock import Clock
from core.errors import HubError
from core.events.event import Entry, LogHead
from rooms.ring import MAX_ENTRIES, MAX_SIZE
from rooms.sequence import Bounds, Full, SequenceFeed, Spawn
from rooms.wire import decode

PAGE = 500
BOUNDS = Bounds(ring_entries=MAX_ENTRIES, ring_size=MAX_SIZE, held_entries=4_096, held_size=8 * 1024 * 1024)


class Log(Protocol):
    """What is read of the log here (core.events.log.LogReader). Every method may raise HubError while PostgreSQL is away."""

    async def head(self, org_id: UUID) -> LogHead:
        """Return where the log ends."""
        ...

    async def range(self, org_id: UUID, *, after: int, upto: int, limit: int) -> list[Entry]:
        """Return the entries after `after` up to `upto`, dense."""
        ...


class Tail(Protocol):
    """What is read of the tails here (rooms.tail.Tails). Nothing raises: a tail that cannot be read does not help."""

    async def read(self, org_id: UUID, epoch: str, *, after: int, upto: int) -> list[Entry] | None:
        """Return the entries after `after` up to `upto`, or None where one is missing."""
        ...

    async def latest(self, org_id: UUID, epoch: str, *, upto: int, limit: int) -> list[Entry]:
        """Return the dense entries that end at `upto`."""
        ...


class Sink(Protocol):
    """Takes what a feed brings, synchronously; it must not raise."""

    def deliver(self, org_id: UUID, entries: list[Entry]) -> Full | None:
        """Take entries: in order, each once, all that one read brought together."""
        ...

    def reset(self, org_id: UUID, epoch: str, position: int, reason: str) -> None:
        """Go on after `position` of `epoch`: the log is another one (`epoch`), or lost its end (`offset`)."""
        ...


@dataclass(slots=True)
class FeedCounts:
    """What happened to all feeds of a node: gaps filled, by where from, and resets by reason."""

    filled_from_tail: int = 0
    filled_from_log: int = 0
    resets: Counter[str] = field(default_factory=Counter[str])


class OrgFeed(SequenceFeed[Entry]):
    """One organisation; the numbers are positions of the log. Made by Feeds; `start()` makes it usable."""

    _waiting_event = "feed_waits_for_log"

    def __init__(
        self,
        org_id: UUID,
        *,
        tails: Tail,
        log: Log,
        sink: Sink,
        clock: Clock,
        spawn: Spawn,
        bounds: Bounds = BOUNDS,
        counts: FeedCounts | None = None,
    ) -> None:
        super().__init__(org_id, decode=decode, number=attrgetter("position"), bounds=bounds, clock=clock, spawn=spawn)
        self._counts = counts or FeedCounts()
        self._tails = tails
        self._log = log
        self._sink = sink

    def ring_since(self, after: int) -> list[Entry] | None:
        """Return the entries after `after` up to `last`; None where the ring holds them no more."""
        return self._ring.since(after)

    async def start(self) -> None:
        """Begin at the log's head, with what the tail has before it in the ring. Redis must have confirmed the subscription.

        Raises HubError while PostgreSQL is away; starting again is right then.
        """
        head = await self._log.head(self.org_id)
        before = await self._tails.latest(self.org_id, head.epoch, upto=head.position, limit=self._bounds.ring_entries)
        self._begin(head.epoch, head.position, before)
        # What came before the head was known was dropped as if of another epoch.
        self._mend_if_needed()

    async def reached(self, position: int, *, life: int) -> None:
        """Return when `last` is at or above `position`, or when the life is another than `life`."""
        await self.until(lambda: self.last >= position or self.life != life)

    def _deliver(self, entries: list[Entry]) -> Full | None:
        return self._sink.deliver(self.org_id, entries)

    async def _mend_once(self) -> None:
        if self._must_check:
            self._must_check = False
            try:
                await self._compare()
            except BaseException:
                self._must_check = True
                raise
        while self._gap and not self._must_check and self._full is None:
            await self._fill()

    async def _compare(self) -> None:
        """Read the head. A log that is another one, or ends before what we handed over, begins a new life here."""
        published = max(self.last, self._target, *(entry.position for entry in self._held))
        head = await self._log.head(self.org_id)
        if head.epoch != self.epoch:
            self._restart(head, "epoch")
        elif head.position < published:
            # What was published was committed before, so PostgreSQL has lost its end.
            self._restart(head, "offset")
        else:
            self._target = max(self._target, head.position)

    async def _fill(self) -> None:
        """Read one page of what is missing, from the tail, else from PostgreSQL, and hand it over."""
        after = self.last
        upto = min(after + PAGE, self._target)
        entries = await self._tails.read(self.org_id, self.epoch, after=after, upto=upto)
        if entries is None:
            entries = await self._log.range(self.org_id, after=after, upto=upto, limit=PAGE)
            self._counts.filled_from_log += 1
        else:
            self._counts.filled_from_tail += 1
        if not entries or entries[0].position != after + 1 or entries[-1].position != after + len(entries):
            # The log does not have what was published: it is another log by now.
            self._must_check = True
            raise HubError("SERVICE_UNAVAILABLE", f"The log lacks an entry after {after}")
        self._hand_over(entries)

    def _restart(self, head: LogHead, reason: str) -> None:
        self._counts.resets[reason] += 1
        self._warn("feed_reset", reason=reason, epoch=head.epoch, position=head.position, last=self.last)
        self._begin(head.epoch, head.position, [])
        self._sink.reset(self.org_id, head.epoch, head.position, reason)
        self._tell_waiting()
