"""As many messages as an hour at 50 a second brings, as fast as they go: no gap, no drift of offsets, memory flat.

Through a log channel and through a live room. Each of 100 members sees that every offset is the one before plus one
(`loadgen.c`, `dense`).
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

from benchmarks.bench import Bench
from benchmarks.generator import Members, hub_joining, joined
from benchmarks.job import Crowd
from benchmarks.publisher import OutboxPublisher, event_factory
from benchmarks.report import Column, Goal, Row, Table, ratios
from core.store.redis import connect_redis
from rooms.live_store import Letter, Letters, LiveStore

MOST_SECONDS = 1800.0
# Events of one script call, and calls under way: together a bound on what is in flight.
BATCH, BATCHES = 32, 8
# Messages that are sent and have not reached all: half of what a room's history keeps.
AHEAD = 256
# Transactions under way.
SLOTS = 64
# When memory is looked at. At the first the rings, tails and histories have their full length.
LOOKS = (0.2, 0.6, 1.0)

Send = Callable[[int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many messages, to how many members."""

    messages: int
    members: int


WHOLE = Sizes(messages=180_000, members=100)
QUICK = Sizes(messages=500, members=5)
COLUMNS = (
    Column("speed", "messages/s"),
    *(Column(f"resident_{look}", f"resident MiB at {look:.0%}", scale=2**-20, digits=1) for look in LOOKS),
    Column("drift", "last offset less messages"),
)


async def measure(bench: Bench) -> list[Table]:
    """Send through both, one after the other, on a node that has just started."""
    sizes = QUICK if bench.quick else WHOLE
    if not bench.quick:
        await bench.hub.server.stop()
        await bench.hub.server.start()
    rows = [Row("live room", await _live(bench, sizes)), Row("log channel", await _log(bench, sizes))]
    says = (
        f"**{sizes.messages:,} messages**, an hour of 50 a second, to {sizes.members} members that check every offset:"
    )
    goals: list[Goal] = []
    for row in rows:
        grown = ratios(row.figures[f"resident_{LOOKS[-1]}"], row.figures[f"resident_{LOOKS[0]}"])
        goals.append(Goal.at_most(f"1.05 x the memory at {LOOKS[0]:.0%}, {row.name}", grown, 1.05, unit=" x"))
        goals.append(Goal.at_most(f"no drift, {row.name}", [abs(row.figures["drift"][0])], 0, digits=0))
    return [Table("endurance", says, "through", COLUMNS, rows, goals, main=False)]


async def _live(bench: Bench, sizes: Sizes) -> dict[str, list[float]]:
    organisation = await bench.hub.organisation("reads")
    room, event = f"chat:bench-{uuid4().hex[:12]}", event_factory()(0).envelope
    redis = connect_redis(bench.hub.redis_url)
    store = LiveStore(redis)

    async def send(count: int) -> None:
        for answer in await store.publish_each([Letters(organisation.id, room, [Letter(event)] * count)]):
            if isinstance(answer, Exception):
                raise answer

    try:
        async with _members(bench, organisation.key, room, sizes) as members:
            return await _Run(bench, members, sizes).through(send, under_way=BATCHES, at_once=BATCH)
    finally:
        await redis.aclose()


async def _log(bench: Bench, sizes: Sizes) -> dict[str, list[float]]:
    organisation = await bench.hub.organisation("reads")
    publisher, slots = await _publisher(bench, organisation.id)

    async def send(count: int) -> None:
        slot = slots.pop()
        await publisher.publish(slot, count)
        slots.append(slot)

    try:
        async with _members(bench, organisation.key, "agents", sizes) as members:
            return await _Run(bench, members, sizes).through(send, under_way=SLOTS, at_once=1)
    finally:
        await publisher.close()


async def _publisher(bench: Bench, org_id: UUID) -> tuple[OutboxPublisher, list[int]]:
    hub = bench.hub
    return await OutboxPublisher.open(hub.database_url, hub.redis_url, org_id, SLOTS), list(range(SLOTS))


@asynccontextmanager
async def _members(bench: Bench, key: str, channel: str, sizes: Sizes) -> AsyncGenerator[Members]:
    joining, crowd = hub_joining(key, (channel,)), Crowd(sizes.members)
    async with joined(
        bench.generators, bench.hub.server, joining, crowd, seconds=MOST_SECONDS, is_dense=True
    ) as members:
        await bench.hub.server.idle()
        yield members


class _Run:
    """Sends until all is sent, never far ahead of the members, and looks at memory on the way."""

    def __init__(self, bench: Bench, members: Members, sizes: Sizes) -> None:
        self._server = bench.hub.server
        self._members = members
        self._messages = sizes.messages
        self._sent = 0
        self._came = 0
        self._going = asyncio.Event()

    async def through(self, send: Send, *, under_way: int, at_once: int) -> dict[str, list[float]]:
        """Send all of it, by `under_way` calls of `send` beside each other that send at most `at_once` messages each."""
        begin = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            for _ in range(under_way):
                group.create_task(self._send(send, at_once=at_once, ahead=AHEAD))
            figures = await self._look()
        seconds = asyncio.get_running_loop().time() - begin
        return {"speed": [self._messages / seconds], **figures}

    async def _send(self, send: Send, *, at_once: int, ahead: int) -> None:
        while self._sent < self._messages:
            if self._sent - self._came > ahead:
                self._going.clear()
                await self._going.wait()
                continue
            count = min(at_once, self._messages - self._sent)
            self._sent += count
            await send(count)

    async def _look(self) -> dict[str, list[float]]:
        figures: dict[str, list[float]] = {}
        looks = {round(self._messages * look): f"resident_{look}" for look in LOOKS}
        first = last = 0
        while self._came < self._messages:
            last = (await self._members.next()).index
            first = first or last
            self._came += 1
            self._going.set()
            if name := looks.get(self._came):
                figures[name] = [float(self._server.resident_bytes())]
        return {**figures, "drift": [float(last - first + 1 - self._messages)]}
