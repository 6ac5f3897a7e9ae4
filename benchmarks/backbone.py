"""The relay alone and beside creates, the log read once more, and what a hub costs that has nothing to do."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import redis.asyncio as redis_asyncio

from benchmarks.bench import Bench
from benchmarks.contenders import Scales
from benchmarks.deliverers import MOST_PULLED, Engines, RedisStreams, asking, pulling, subscribed
from benchmarks.mixed import Creates
from benchmarks.published import Arriving
from benchmarks.publisher import OutboxPublisher
from benchmarks.receivers import GROUP, STREAM
from benchmarks.receiving import receiving
from benchmarks.report import Column, Goal, Row, Table, ratios
from core.store.database import connect_as

LOOK_SECONDS = 0.005
MOST_LISTED = 100
RELAY_COLUMNS = (
    Column("speed", "relayed, events/s"),
    Column("cost", "server CPU, µs an event"),
    Column("broker_cost", "broker and database CPU, µs an event"),
    Column("post_p50", "create answered, p50 ms", digits=1, spread=False),
    Column("post_p99", "p99 ms", digits=1),
)
REPLAY_COLUMNS = (
    Column("speed", "events/s"),
    Column("cost", "server CPU, µs an event"),
    Column("broker_cost", "broker and database CPU, µs an event"),
    Column("speed_ratio", "the hub's replay over this", digits=2, unit=" x"),
)
QUIET_COLUMNS = (
    Column("server", "server, % of a core", scale=100, digits=2),
    Column("brokers", "broker and database, % of a core", scale=100, digits=2),
)
RELAY_ALONE, RELAY_BESIDE, REPLAYED, QUIET_SHARE = 5_000.0, 1_500.0, 20_000.0, 0.02


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    rounds: int
    events: int
    creates: float
    create_seconds: float
    connections: int
    quiet_seconds: float
    subscriptions: int


WHOLE = Sizes(
    rounds=3, events=20_000, creates=300.0, create_seconds=5.0, connections=40, quiet_seconds=20.0, subscriptions=20
)
QUICK = Sizes(rounds=1, events=200, creates=50.0, create_seconds=0.5, connections=5, quiet_seconds=0.4, subscriptions=2)

Figures = Mapping[str, float]


async def measure(bench: Bench) -> list[Table]:
    """Measure all three."""
    sizes, engines = QUICK if bench.quick else WHOLE, await Engines.of(bench.hub)
    sizes = replace(sizes, rounds=bench.rounds or sizes.rounds)
    return [
        await _relay(bench, sizes, engines),
        await _replay(bench, sizes, engines),
        await _quiet(bench, sizes, engines),
    ]


async def _relay(bench: Bench, sizes: Sizes, engines: Engines) -> Table:
    hub = bench.hub
    organisation = await hub.organisation("relayed")
    publisher = await OutboxPublisher.open(hub.database_url, hub.redis_url, organisation.id, 1)
    creates = await Creates.open(bench, sizes.creates, sizes.connections)
    relayed = _Relayed(hub.database_url, organisation.id)
    alone, beside = Row("alone", {}), Row(f"beside {sizes.creates:.0f} creates/s", {})
    try:
        for number in range(sizes.rounds):
            scales = Scales(hub.server, engines.all())
            numbers = range(2 * number * sizes.events, (2 * number + 1) * sizes.events)
            alone.add(await relayed.all_of(publisher, numbers, scales))
            await hub.server.idle()
            posting = asyncio.create_task(creates.run(sizes.create_seconds))
            await asyncio.sleep(sizes.create_seconds / 10)
            numbers = range(numbers.stop, numbers.stop + sizes.events)
            speed = (await relayed.all_of(publisher, numbers, scales))["speed"]
            beside.add({"speed": speed, **await posting})
            await hub.server.idle()
    finally:
        creates.close()
        await publisher.close()
    says = (
        f"**The relay** from outbox to log and feed, {sizes.events:,} events that were committed at once, "
        f"{sizes.rounds} rounds:"
    )
    goals = [
        Goal.at_least("5,000 events/s alone", alone.figures["speed"], RELAY_ALONE, digits=0),
        Goal.at_least("1,500 events/s beside creates", beside.figures["speed"], RELAY_BESIDE, digits=0),
    ]
    return Table("relay", says, "relay", RELAY_COLUMNS, [alone, beside], goals)


class _Relayed:
    """Sees when the relay has moved and published what was committed."""

    def __init__(self, url: str, org_id: UUID) -> None:
        self._url = url
        self._org_id = org_id

    async def all_of(self, publisher: OutboxPublisher, numbers: range, scales: Scales) -> Figures:
        """Commit an event for each number; return how fast they were relayed, from the commit on, and at what cost."""
        connection = await connect_as(self._url, "hub_system")
        try:
            before = await self._published(connection)
            await publisher.publish_all(numbers)
            scales.start()
            begin = time.monotonic_ns()
            await self._until(connection, before + len(numbers))
            end = time.monotonic_ns()
        finally:
            await connection.close()
        return _figures(len(numbers), end - begin, scales)

    async def _until(self, connection: Any, position: int) -> None:
        while True:
            if await self._published(connection) >= position:
                return
            await asyncio.sleep(LOOK_SECONDS)

    async def _published(self, connection: Any) -> int:
        return await connection.fetchval("SELECT published FROM heads WHERE org_id = $1", self._org_id)


async def _replay(bench: Bench, sizes: Sizes, engines: Engines) -> Table:
    hub = bench.hub
    organisation = await hub.organisation("replayed")
    publisher = await OutboxPublisher.open(hub.database_url, hub.redis_url, organisation.id, 1)
    try:
        await _Relayed(hub.database_url, organisation.id).all_of(
            publisher, range(sizes.events), Scales(hub.server, engines.all())
        )
    finally:
        await publisher.close()
    await hub.server.idle()
    kinds: list[tuple[Row, Callable[[Bench, Sizes, Engines], Awaitable[Figures]]]] = [
        (Row(f"**the hub**, a replay into a subscription that is pulled, {MOST_PULLED} at a time", {}), _replayed),
        (Row(f"**the hub**, `GET /v2/events`, pages of {MOST_LISTED}, one after the other", {}), _paged),
    ]
    if "redis-streams" in bench.peers:
        kinds.append((Row("Redis Streams, from memory, by a group that begins at 0", {}), _streamed))
    for _ in range(sizes.rounds):
        for row, run in kinds:
            row.add(await run(bench, sizes, engines))
            await hub.server.idle()
    rows = [row for row, _ in kinds]
    for row in rows:
        row.figures["speed_ratio"] = ratios(rows[0].figures["speed"], row.figures["speed"])
    says = f"**The log once more**, {sizes.events:,} events to one reader, {sizes.rounds} rounds:"
    goals = [Goal.at_least("20,000 events/s replayed", rows[0].figures["speed"], REPLAYED, digits=0)]
    return Table("replay", says, "reader", REPLAY_COLUMNS, rows, goals)


async def _replayed(bench: Bench, sizes: Sizes, engines: Engines) -> Figures:
    organisation, scales = await bench.hub.organisation("replayed"), Scales(bench.hub.server, engines.all())
    async with (
        asking(bench.hub, organisation) as session,
        subscribed(session) as id,
        pulling(bench.hub, organisation, id) as receiver,
    ):
        scales.start()
        async with session.post(f"/v2/subscriptions/{id}/replay", json={"from": {"position": "0"}}):
            pass
        return _figures(*await _taken(receiver, sizes.events), scales)


async def _paged(bench: Bench, sizes: Sizes, engines: Engines) -> Figures:
    organisation, scales = await bench.hub.organisation("replayed"), Scales(bench.hub.server, engines.all())
    scales.start()
    told = {"host": bench.hub.server.host, "port": bench.hub.server.port, "key": organisation.key, "most": MOST_LISTED}
    async with receiving("pages", told) as receiver:
        return _figures(*await _taken(receiver, sizes.events), scales)


async def _streamed(bench: Bench, sizes: Sizes, engines: Engines) -> Figures:
    peer = RedisStreams(bench, engines, (0.0, 0))
    async with peer.opened() as line:
        await line.publisher.publish_all(range(sizes.events))
        for _ in range(sizes.events):
            await line.arriving.next()
        redis: Any = redis_asyncio.Redis.from_url(bench.hub.redis_url)
        async with redis:
            await redis.xgroup_create(STREAM, f"{GROUP}-again", id="0")
        scales = Scales(line.server, line.brokers)
        told = {"url": bench.hub.redis_url, "most": MOST_PULLED, "group": f"{GROUP}-again"}
        async with receiving("streams", told, cores=None if bench.cores is None else bench.cores.server) as again:
            scales = Scales(again, line.brokers)
            scales.start()
            return _figures(*await _taken(again, sizes.events), scales)


async def _taken(arriving: Arriving, many: int) -> tuple[int, int]:
    """Return how many came from the first arrival to the last, and the ns that this took."""
    first = await arriving.next()
    last = first.last_ns
    for _ in range(many - 1):
        last = max(last, (await arriving.next()).last_ns)
    return many, last - first.last_ns


async def _quiet(bench: Bench, sizes: Sizes, engines: Engines) -> Table:
    without, among = Row("no subscription", {}), Row(f"{sizes.subscriptions} subscriptions, half of them pulled", {})
    without.add(await _used(bench, sizes, engines))
    organisation = await bench.hub.organisation("quiet")
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(asking(bench.hub, organisation))
        ids = [await stack.enter_async_context(subscribed(session)) for _ in range(sizes.subscriptions)]
        for id in ids[::2]:
            await stack.enter_async_context(pulling(bench.hub, organisation, id, connections=1))
        await bench.hub.server.idle()
        among.add(await _used(bench, sizes, engines))
    says = f"**Nothing happens** for {sizes.quiet_seconds:.0f} s:"
    goals = [
        Goal.at_most(
            f"{QUIET_SHARE * 100:.0f} % of a core without events",
            among.figures["server"],
            QUIET_SHARE,
            scale=100,
            unit=" %",
        )
    ]
    return Table("quiet", says, "hub", QUIET_COLUMNS, [without, among], goals)


async def _used(bench: Bench, sizes: Sizes, engines: Engines) -> Figures:
    scales, begin = Scales(bench.hub.server, engines.all()), time.monotonic()
    scales.start()
    await asyncio.sleep(sizes.quiet_seconds)
    seconds = time.monotonic() - begin
    server, brokers = scales.read()
    return {"server": server / seconds, "brokers": brokers / seconds}


def _figures(many: int, ns: int, scales: Scales) -> Figures:
    server, brokers = scales.read()
    return {"speed": many / max(ns, 1) * 1e9, "cost": server / many * 1e6, "broker_cost": brokers / many * 1e6}
