"""A log, a tail and the messages between, in memory: a model whose every schedule can be tried, and repeated from its seed.

MemoryLog and MemoryTail stand where LogReader and Tails stand; test_model.py holds both to the same promises.
"""

import asyncio
import random
from collections.abc import Collection, Coroutine
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

from core.errors import HubError
from core.events.event import Entry, LogHead, namespace_of
from rooms.org_feed import BOUNDS, OrgFeed
from rooms.wire import encode
from tests.harness.clock import ManualClock
from tests.harness.waiting import eventually

ORG = uuid4()


class Chance:
    """What a seed decides: when others run, and when an engine does not answer."""

    def __init__(self, rng: random.Random, *, failures: float = 0.0) -> None:
        self.rng = rng
        self.failures = failures

    async def delay(self) -> None:
        """Let others run for a while."""
        for _ in range(self.rng.choice((0, 0, 1, 2, 5))):
            await asyncio.sleep(0)

    async def engine(self) -> None:
        """Answer late, or not at all."""
        await self.delay()
        if self.rng.random() < self.failures:
            raise HubError("SERVICE_UNAVAILABLE")


class MemoryLog:
    """The log of one organisation."""

    def __init__(self, chance: Chance, *, epoch: str = "e1") -> None:
        self.epoch = epoch
        self.entries: list[Entry] = []
        # Positions that cannot be read, as if the log had holes.
        self.hidden: set[int] = set()
        self._chance = chance

    @property
    def top(self) -> int:
        """The last position."""
        return len(self.entries)

    def append(self, channel: str, envelope: str) -> Entry:
        """Commit an event."""
        entry = Entry(self.top + 1, channel, envelope)
        self.entries.append(entry)
        return entry

    async def head(self, org_id: UUID) -> LogHead:
        """As LogReader.head."""
        await self._chance.engine()
        head = LogHead(self.epoch, self.top)
        await self._chance.delay()
        return head

    async def range(self, org_id: UUID, *, after: int, upto: int, limit: int) -> list[Entry]:
        """As LogReader.range."""
        await self._chance.engine()
        entries = [entry for entry in self.entries[after:upto][:limit] if entry.position not in self.hidden]
        await self._chance.delay()
        return entries

    async def read(self, org_id: UUID, channels: Collection[str], *, after: int, upto: int, limit: int) -> list[Entry]:
        """As LogReader.read."""
        await self._chance.engine()
        wanted = set(channels)
        hits = [e for e in self.entries[after:upto] if e.channel in wanted or namespace_of(e.channel) in wanted]
        await self._chance.delay()
        return hits[:limit]


class MemoryTail:
    """The tail of one organisation, and what its script publishes."""

    def __init__(self, chance: Chance, *, keeps: int = 10_000) -> None:
        self.kept: dict[tuple[str, int], Entry] = {}
        self.tops: dict[str, int] = {}
        self._keeps = keeps
        self._chance = chance

    def publish(self, epoch: str, entries: list[Entry]) -> list[bytes]:
        """Return the messages that go out."""
        published: list[bytes] = []
        for entry in entries:
            if entry.position <= self.tops.get(epoch, 0):
                continue
            self.tops[epoch] = entry.position
            self.kept[epoch, entry.position] = entry
            published.append(encode(epoch, entry))
        while len(self.kept) > self._keeps:
            del self.kept[min(self.kept)]
        return published

    def flush(self) -> None:
        """Lose everything, as a Redis that starts empty."""
        self.kept.clear()
        self.tops.clear()

    async def read(self, org_id: UUID, epoch: str, *, after: int, upto: int) -> list[Entry] | None:
        """As Tails.read."""
        await self._chance.delay()
        entries = [self.kept[epoch, at] for at in range(after + 1, upto + 1) if (epoch, at) in self.kept]
        await self._chance.delay()
        return entries if len(entries) == upto - after else None

    async def latest(self, org_id: UUID, epoch: str, *, upto: int, limit: int) -> list[Entry]:
        """As Tails.latest."""
        await self._chance.delay()
        dense: list[Entry] = []
        while len(dense) < limit and (epoch, upto - len(dense)) in self.kept:
            dense.append(self.kept[epoch, upto - len(dense)])
        return dense[::-1]


class Vessel:
    """What a sink is that may be full: by chance, until there is room again. Nothing comes meanwhile."""

    def __init__(self, rng: random.Random | None = None, fills: float = 0.0) -> None:
        self._rng = rng or random.Random(1)
        self._fills = fills
        self.full: asyncio.Future[None] | None = None
        self.full_next = False

    def take(self) -> asyncio.Future[None] | None:
        """Take a delivery."""
        assert self.full is None, "nothing is handed over where there is no room"
        if self.full_next or self._rng.random() < self._fills:
            self.full_next = False
            self.full = asyncio.get_running_loop().create_future()
        return self.full

    def make_room(self) -> None:
        """Be full no more."""
        full, self.full = self.full, None
        if full is not None:
            full.set_result(None)


class Recording(Vessel):
    """A sink that remembers: what was handed over, in one list, with resets as (epoch, position, reason)."""

    def __init__(self, rng: random.Random | None = None, fills: float = 0.0) -> None:
        super().__init__(rng, fills)
        self.calls: list[list[Entry]] = []
        self.resets: list[tuple[str, int, str]] = []
        self.since_reset: list[Entry] = []

    @property
    def positions(self) -> list[int]:
        """The positions since the last reset."""
        return [entry.position for entry in self.since_reset]

    def deliver(self, org_id: UUID, entries: list[Entry]) -> asyncio.Future[None] | None:
        """As Sink.deliver."""
        assert entries, "nothing is not handed over"
        self.calls.append(entries)
        self.since_reset += entries
        return self.take()

    def reset(self, org_id: UUID, epoch: str, position: int, reason: str) -> None:
        """As Sink.reset."""
        self.resets.append((epoch, position, reason))
        self.since_reset = []


class Node:
    """A feed with a log, a tail and a sink, and the tasks that it has spawned."""

    def __init__(
        self,
        rng: random.Random | None = None,
        *,
        failures: float = 0.0,
        keeps: int = 10_000,
        ring: int = BOUNDS.ring_entries,
        held: int = BOUNDS.held_entries,
        fills: float = 0.0,
    ) -> None:
        chance = Chance(rng or random.Random(1), failures=failures)
        self.chance = chance
        self.clock = ManualClock()
        self.log = MemoryLog(chance)
        self.tail = MemoryTail(chance, keeps=keeps)
        self.tasks: list[asyncio.Task[None]] = []
        self.bounds = replace(BOUNDS, ring_entries=ring, held_entries=held)
        self.use(Recording(rng, fills))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self.tasks.append(task)
        return task

    def commit(self, count: int = 1) -> list[Entry]:
        """Commit events to the log."""
        return [self.log.append(f"agents:{number % 3}", f"{self.log.epoch} {number}") for number in range(count)]

    def publish(self, entries: list[Entry]) -> list[bytes]:
        """Publish them; return the messages that go out."""
        return self.tail.publish(self.log.epoch, entries)

    async def settled(self) -> None:
        """Wait until the feed has handed over all of the log and rests."""

        async def rests() -> bool:
            self.sink.make_room()
            await self.clock.advance(1.0)
            return self.feed.last == self.log.top and all(task.done() for task in self.tasks)

        await eventually(rests, every=0)
        for task in self.tasks:
            task.result()

    def use(self, sink: Recording) -> None:
        """Hand over to `sink` from now on."""
        self.sink = sink
        self.feed = OrgFeed(
            ORG, tails=self.tail, log=self.log, sink=sink, clock=self.clock, spawn=self._spawn, bounds=self.bounds
        )
