"""Telemetry into one node, with history, sums and a listener in the rooms: batches over REST, and single points over sockets."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import aiohttp
import orjson

from benchmarks.bench import Bench
from benchmarks.contenders import Scales
from benchmarks.deliverers import Engines, asking
from benchmarks.generator import Request, ask
from benchmarks.hub_under_test import Organisation
from benchmarks.report import Column, Goal, Row, Table, percentile_ms

METRICS = 10
TWINS_A_BATCH = 10
BATCHED, SINGLE = 10_000.0, 3_000.0
COLUMNS = (
    Column("speed", "points/s, stored"),
    Column("cost", "server CPU, us a point", digits=1),
    Column("broker_cost", "database and Redis CPU, us a point", digits=1, spread=False),
    Column("p50", "answered, p50 ms", digits=1, spread=False),
    Column("p99", "p99 ms", digits=1),
    Column("heard", "events heard/s", spread=False),
)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured. `sockets` publish, each for a twin of its own, with `in_flight` frames under way."""

    rounds: int
    twins: int
    connections: int
    sockets: int
    in_flight: int
    warm_seconds: float
    seconds: float


WHOLE = Sizes(3, 100, 16, 20, 16, warm_seconds=1.0, seconds=5.0)
QUICK = Sizes(1, 10, 2, 2, 4, warm_seconds=0.1, seconds=0.3)


@dataclass
class _Listener:
    """What the listener has heard so far."""

    heard: int = 0


async def measure(bench: Bench) -> list[Table]:
    """Measure both by turns."""
    sizes, engines = QUICK if bench.quick else WHOLE, await Engines.of(bench.hub)
    rounds = bench.rounds or sizes.rounds
    organisation = await bench.hub.organisation("telemetry")
    batched = Row(f"batches of {METRICS * TWINS_A_BATCH} over REST, {sizes.connections} at once", {})
    single = Row(f"single points over {sizes.sockets} sockets, {sizes.in_flight} under way on each", {})
    async with asking(bench.hub, organisation) as session:
        twins = [await _made(session, number) for number in range(sizes.twins)]
        async with _listening(session, twins) as listener:
            for _ in range(rounds):
                await _batches(bench, sizes, engines, organisation, twins, listener, batched)
                await _publishes(bench, sizes, engines, session, twins, listener, single)
    says = f"**Telemetry into one node**, kept with its sums, and told to a listener of {len(twins)} rooms, {rounds} rounds:"
    goals = [
        Goal.at_least("10,000 points/s in batches", batched.figures["speed"], BATCHED, digits=0),
        Goal.at_least("3,000 points/s as single publishes", single.figures["speed"], SINGLE, digits=0),
    ]
    return [Table("telemetry", says, "way", COLUMNS, [batched, single], goals)]


async def _made(session: aiohttp.ClientSession, number: int) -> str:
    async with session.post("/v2/twins", json={"name": f"Meter {number}", "type": "meter"}) as answer:
        return str((await answer.json())["id"])


@asynccontextmanager
async def _listening(session: aiohttp.ClientSession, twins: list[str]) -> AsyncGenerator[_Listener]:
    """Be in the rooms of all."""
    listener = _Listener()
    async with session.ws_connect("/v2/stream") as socket:
        await socket.send_json({"type": "subscribe", "channels": [f"twins:{id}/telemetry" for id in twins]})
        while (await socket.receive_json())["type"] != "subscribed":
            pass
        listening = asyncio.create_task(_listen(socket, listener))
        try:
            yield listener
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


async def _listen(socket: aiohttp.ClientWebSocketResponse, listener: _Listener) -> None:
    async for message in socket:
        if message.data.startswith('{"type":"event"'):
            listener.heard += 1


async def _batches(
    bench: Bench,
    sizes: Sizes,
    engines: Engines,
    organisation: Organisation,
    twins: list[str],
    listener: _Listener,
    row: Row,
) -> None:
    groups = [twins[at : at + TWINS_A_BATCH] for at in range(0, len(twins), TWINS_A_BATCH)]
    requests = [Request("POST", "/v2/telemetry", 200, organisation.key, _body(group)) for group in groups]
    scales, heard, begin = Scales(bench.hub.server, engines.all()), listener.heard, time.monotonic()
    scales.start()
    answers = await ask(
        bench.generators,
        bench.hub.server,
        *requests,
        connections=sizes.connections,
        warm_seconds=sizes.warm_seconds,
        seconds=sizes.seconds,
    )
    # The brokers' share is of all the time, the warm-up too: a point costs them the same.
    took, points = time.monotonic() - begin, answers.requests * len(groups[0]) * METRICS
    _, brokers = scales.read()
    whole = points * (sizes.warm_seconds + answers.seconds) / answers.seconds
    row.add(
        {
            "speed": points / answers.seconds,
            "cost": answers.cpu_seconds / max(1, points) * 1e6,
            "broker_cost": brokers / max(1.0, whole) * 1e6,
            "p50": answers.p50_us / 1000,
            "p99": answers.p99_us / 1000,
            "heard": (listener.heard - heard) / took,
        },
    )


def _body(twins: list[str]) -> bytes:
    points = [
        {"twin_id": id, "metric": f"metric{number}", "value": number * 1.25}
        for id in twins
        for number in range(METRICS)
    ]
    return orjson.dumps({"points": points})


async def _publishes(
    bench: Bench,
    sizes: Sizes,
    engines: Engines,
    session: aiohttp.ClientSession,
    twins: list[str],
    listener: _Listener,
    row: Row,
) -> None:
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(session.ws_connect("/v2/stream")) for _ in range(sizes.sockets)]
        for socket in sockets:
            await socket.receive()
        await bench.hub.server.idle()
        scales, heard, begin = Scales(bench.hub.server, engines.all()), listener.heard, time.monotonic()
        scales.start()
        end = begin + sizes.seconds
        publishing = [
            _publish(socket, twins[number % len(twins)], sizes.in_flight, end) for number, socket in enumerate(sockets)
        ]
        waits = [wait for some in await asyncio.gather(*publishing) for wait in some]
        took = time.monotonic() - begin
        await bench.hub.server.idle()
        server, brokers = scales.read()
    row.add(
        {
            "speed": len(waits) / took,
            "cost": server / max(1, len(waits)) * 1e6,
            "broker_cost": brokers / max(1, len(waits)) * 1e6,
            "p50": percentile_ms(waits, 50),
            "p99": percentile_ms(waits, 99),
            "heard": (listener.heard - heard) / took,
        },
    )


async def _publish(socket: aiohttp.ClientWebSocketResponse, twin: str, in_flight: int, end: float) -> list[int]:
    """Publish until `end`, so many under way; return how long each answer took (ns). Raises RuntimeError for a refusal."""
    channel, sent, waits, number = f"twins:{twin}/telemetry", list[int](), list[int](), 0
    while True:
        while time.monotonic() < end and len(sent) - len(waits) < in_flight:
            number += 1
            sent.append(time.monotonic_ns())
            frame = {"type": "publish", "id": number, "channel": channel, "data": {f"m{number % METRICS}": number}}
            await socket.send_str(orjson.dumps(frame).decode())
        if len(waits) == len(sent):
            return waits
        answer = orjson.loads((await socket.receive()).data)
        if answer["type"] == "error":
            raise RuntimeError(f"a point was refused: {answer['error']}")
        if answer["type"] == "result":
            waits.append(time.monotonic_ns() - sent[answer["id"] - 1])
