"""Reading the log for many who come back at once: what one has read serves all who want the same part of it.

    SharedLog.of(feed)    a ChannelLog for recovery; the reads of all catchings up of a feed are shared

A read begins at a multiple of BLOCK, so that clients with nearby offsets read the same; what it brought is kept for some seconds,
bounded for the whole node. Who wants a part that is being read waits for it.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from types import CoroutineType
from typing import Any
from uuid import UUID

from core.auth.flights import Flights
from core.clock import Clock
from core.events.event import Entry, LogHead, namespace_of
from rooms.recovery import ChannelLog, Feed

BLOCK = 128
# Entries of one read: at least BLOCK of them are after the place that was asked for.
READ = 2 * BLOCK
KEEP_SECONDS = 10.0
# Of envelopes, in characters, for all organisations of the node.
MAX_SIZE = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Key:
    """What may be shared: the same channels of the same life of a log, as one feed knows it."""

    feed: Feed
    life: int
    channels: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Segment:
    """All entries of the key's channels after `after` and up to `reached`."""

    after: int
    reached: int
    entries: list[Entry]
    size: int
    read_at: float

    def part(self, after: int, upto: int) -> list[Entry]:
        begin = bisect_right(self.entries, after, key=_position)
        return self.entries[begin : bisect_right(self.entries, upto, key=_position)]


class SharedLog:
    """Stands before the log (core.events.log.LogReader); raises what it raises. `reads` counts how often it was asked."""

    def __init__(self, log: ChannelLog, clock: Clock) -> None:
        self.reads = 0
        self._log = log
        self._clock = clock
        self._flights: Flights[tuple[_Key, int], _Segment] = Flights(clock)
        self._segments: dict[_Key, list[_Segment]] = {}
        self._oldest: deque[tuple[_Key, _Segment]] = deque()
        self._size = 0

    def of(self, feed: Feed) -> ChannelLog:
        """Return the log as it is read for `feed`."""
        return _OfFeed(feed, self.head, self._read)

    @property
    def kept_size(self) -> int:
        """Characters of the envelopes that are kept."""
        return self._size

    async def close(self) -> None:
        """End what is being read."""
        await self._flights.close()

    async def head(self, org_id: UUID) -> LogHead:
        """Return where the log ends, as read after this call."""
        self.reads += 1
        return await self._log.head(org_id)

    async def _read(self, key: _Key, *, after: int, upto: int, limit: int) -> list[Entry]:
        found: list[Entry] = []
        at = after
        while at < upto and len(found) < limit:
            segment = self._kept(key, at) or await self._load(key, at, upto)
            if segment.reached > at:  # else it was read for somebody who wanted less
                found += segment.part(at, upto)
                at = min(upto, segment.reached)
        return found[:limit]

    def _kept(self, key: _Key, at: int) -> _Segment | None:
        self._forget()
        return next((each for each in self._segments.get(key, ()) if each.after <= at < each.reached), None)

    async def _load(self, key: _Key, at: int, upto: int) -> _Segment:
        start = at - at % BLOCK

        async def read() -> _Segment:
            self.reads += 1
            entries = await self._log.read(key.feed.org_id, key.channels, after=start, upto=upto, limit=READ)
            reached = entries[-1].position if len(entries) == READ else upto
            size = sum(len(entry.envelope) for entry in entries)
            segment = _Segment(start, reached, entries, size, self._clock.monotonic())
            self._keep(key, segment)
            return segment

        return await self._flights.join((key, start), read)

    def _keep(self, key: _Key, segment: _Segment) -> None:
        self._segments.setdefault(key, []).append(segment)
        self._oldest.append((key, segment))
        self._size += segment.size
        self._forget()

    def _forget(self) -> None:
        """Let go of what is too old, and of the oldest while there is too much."""
        now = self._clock.monotonic()
        while self._oldest and (self._size > MAX_SIZE or now - self._oldest[0][1].read_at > KEEP_SECONDS):
            key, segment = self._oldest.popleft()
            self._size -= segment.size
            kept = self._segments[key]
            kept.remove(segment)
            if not kept:
                del self._segments[key]


class _OfFeed:
    def __init__(
        self,
        feed: Feed,
        head: Callable[[UUID], Awaitable[LogHead]],
        read: Callable[..., "CoroutineType[Any, Any, list[Entry]]"],
    ) -> None:
        self._feed = feed
        self._head = head
        self._read = read

    async def head(self, org_id: UUID) -> LogHead:
        return await self._head(org_id)

    def read(
        self, org_id: UUID, channels: Collection[str], *, after: int, upto: int, limit: int
    ) -> "CoroutineType[Any, Any, list[Entry]]":
        # Not async: `upto` is of the life that the feed has now. When a task gets to run this, it may have another, and
        # what is read then must not be kept for that one.
        key = _Key(self._feed, self._feed.life, _needed(channels))
        return self._read(key, after=after, upto=upto, limit=limit)


def _needed(channels: Collection[str]) -> frozenset[str]:
    """Leave out channels whose kind is wanted too: the same entries are read without them."""
    return frozenset(each for each in channels if ":" not in each or namespace_of(each) not in channels)


def _position(entry: Entry) -> int:
    return entry.position
