"""The hub's log channels among the contenders: here the publisher is SQL, so it is in Python and not in the generator."""

import asyncio
import math
import time
from dataclasses import replace

import asyncpg
import psutil

from benchmarks.bench import Bench
from benchmarks.contenders import GRACE_SECONDS, Run, Scales
from benchmarks.generator import Arrival, Members, hub_joining, joined
from benchmarks.job import Crowd, Pace
from benchmarks.publisher import OutboxPublisher
from benchmarks.report import percentile_ms

# Three subscriptions, as a dashboard has them.
HUB_CHANNELS = ("agents", "knowledge", "twins")


async def database_process(url: str) -> psutil.Process:
    """Return the process that has started all others of the PostgreSQL at `url`, on this machine."""
    connection = await asyncpg.connect(url)
    try:
        return psutil.Process(psutil.Process(await connection.fetchval("SELECT pg_backend_pid()")).ppid())
    finally:
        await connection.close()


class LogContender:
    """The hub's log channels: a publisher outside commits events into the outbox; relay, log, tail, feed follow."""

    key, title, main = "hub-log", "**the hub**, log channel: transaction, outbox, relay, log, feed", True

    def __init__(self, bench: Bench, brokers: list[psutil.Process], *, is_fresh: bool = False) -> None:
        self._bench = bench
        self._brokers = brokers
        self._is_fresh = is_fresh

    async def run(self, crowd: Crowd, pace: Pace) -> Run:
        """Measure with members of three channels; with `is_fresh` on a node that has just started."""
        bench, hub = self._bench, self._bench.hub
        organisation = await hub.organisation("reads")
        if self._is_fresh:
            await hub.server.stop()
            await hub.server.start()
        await hub.server.idle()
        before = hub.server.resident_bytes()
        publisher = await OutboxPublisher.open(
            hub.database_url, hub.redis_url, organisation.id, max(pace.in_flight, round(pace.per_second), 1)
        )
        joining = hub_joining(organisation.key, HUB_CHANNELS)
        most = pace.warm_seconds + pace.seconds + GRACE_SECONDS
        try:
            async with joined(bench.generators, hub.server, joining, crowd, seconds=most) as members:
                await hub.server.idle()
                window = _LogWindow(publisher, members, Scales(hub.server, self._brokers), pace, crowd.members)
                run = await window.run()
                return replace(run, resident=(hub.server.resident_bytes() - before) / crowd.members)
        finally:
            await publisher.close()
            await hub.server.idle()


class _LogWindow:
    """Publishes by the publisher's slots, and measures after the warm-up; what loadgen.c does for the others."""

    def __init__(self, publisher: OutboxPublisher, members: Members, scales: Scales, pace: Pace, count: int) -> None:
        self._publisher = publisher
        self._members = members
        self._scales = scales
        self._pace = pace
        self._count = count
        self._room = asyncio.Semaphore(pace.in_flight)
        self._slots = asyncio.Queue[int]()
        self._sent_ns: dict[int, int] = {}
        self._published = 0
        self._is_over = False

    async def run(self) -> Run:
        """Publish and measure until the time is over."""
        slots = max(self._pace.in_flight, round(self._pace.per_second), 1)
        for slot in range(slots):
            self._slots.put_nowait(slot)
        async with asyncio.TaskGroup() as group:
            if self._pace.per_second:
                group.create_task(self._publish_paced(group))
            else:
                for _ in range(slots):
                    group.create_task(self._publish_when_there_is_room())
            run = await self._measure()
            self._is_over = True
            for _ in range(slots):
                self._room.release()
        return run

    async def _publish_when_there_is_room(self) -> None:
        while True:
            await self._room.acquire()
            if self._is_over:
                return
            await self._publish()

    async def _publish_paced(self, group: asyncio.TaskGroup) -> None:
        due = time.monotonic()
        while not self._is_over:
            group.create_task(self._publish())
            due += 1 / self._pace.per_second
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _publish(self) -> None:
        slot, number = await self._slots.get(), self._published
        self._published += 1
        self._sent_ns[number] = time.monotonic_ns()
        await self._publisher.publish(slot, number)
        self._slots.put_nowait(slot)

    async def _measure(self) -> Run:
        begin = time.monotonic_ns() + round(self._pace.warm_seconds * 1e9)
        first, _ = await self._until(begin)
        self._scales.start()
        last, waits = await self._until(first.last_ns + round(self._pace.seconds * 1e9))
        server, broker = self._scales.read()
        seconds, deliveries = (last.last_ns - first.last_ns) / 1e9, len(waits) * self._count
        p50, p99, most = (percentile_ms(waits, share) for share in (50, 99, 100))
        return Run(deliveries, seconds, server, broker, math.nan, p50, p99, most, 0.0)

    async def _until(self, end_ns: int) -> tuple[Arrival, list[int]]:
        """Take arrivals, each of which makes room for another message, until one is not before `end_ns`."""
        waits: list[int] = []
        while True:
            arrival = await self._members.next()
            self._room.release()
            waits.append(arrival.last_ns - self._sent_ns.pop(arrival.index))
            if arrival.last_ns >= end_ns:
                return arrival, waits
