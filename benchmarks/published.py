"""A window in which the publisher is in Python and not in the generator: what loadgen.c does for the others."""

import asyncio
import math
import time
from typing import Protocol

from benchmarks.contenders import Run, Scales
from benchmarks.generator import Arrival
from benchmarks.job import Pace
from benchmarks.report import percentile_ms


class Publishing(Protocol):
    """Publishes (publisher.OutboxPublisher); as many can be under way as there are slots."""

    async def publish(self, slot: int, number: int) -> None:
        """Publish one message; returns when it is published."""
        ...


class Arriving(Protocol):
    """Tells of what has arrived (generator.Members)."""

    async def next(self) -> Arrival:
        """Return the next message that has reached all."""
        ...


class PublishedWindow:
    """Publishes by the publisher's slots, and measures after the warm-up; what loadgen.c does for the others.

    Messages are numbered from `first` on; each reaches `count` members.
    """

    def __init__(
        self, publisher: Publishing, arriving: Arriving, scales: Scales, pace: Pace, count: int, *, first: int = 0
    ) -> None:
        self._publisher = publisher
        self._arriving = arriving
        self._scales = scales
        self._pace = pace
        self._count = count
        self._room = asyncio.Semaphore(pace.in_flight)
        self._slots = asyncio.Queue[int]()
        self._sent_ns: dict[int, int] = {}
        self._published = first
        self._is_over = False

    @property
    def published(self) -> int:
        """The number of the next message."""
        return self._published

    async def run(self, slots: int) -> Run:
        """Publish, at most so many at a time, and measure until the time is over."""
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
            arrival = await self._arriving.next()
            self._room.release()
            waits.append(arrival.last_ns - self._sent_ns.pop(arrival.index))
            if arrival.last_ns >= end_ns:
                return arrival, waits
