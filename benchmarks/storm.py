"""Clients that come back all at once: authenticated, subscribed to three channels, recovered; and what others feel of it.

While they come, members of another organisation get 50 messages a second: their times beside the same without the storm. The limit
beside it is naive aiohttp, whose clients shake hands, say one word and get one: no credentials, no channels, no recovery.
"""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace

import aiohttp
import orjson

from benchmarks.bench import Bench
from benchmarks.contenders import LiveContender, redis_process
from benchmarks.generator import hub_joining
from benchmarks.job import Crowd, Joining, Pace
from benchmarks.latency import BODY
from benchmarks.log_contender import HUB_CHANNELS
from benchmarks.peers.catalogue import PEERS
from benchmarks.programs import Program, started
from benchmarks.report import Column, Goal, Row, Table, ratios
from benchmarks.server import ServerProcess, clean_environment

STORM_SECONDS = 60.0
# So many events back everybody is.
MISSED = 20


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many come at once, and how many others there are."""

    clients: int
    others: int
    rounds: int
    pace: Pace


WHOLE = Sizes(clients=2000, others=100, rounds=3, pace=Pace(0.5, 2.5, per_second=50.0))
QUICK = Sizes(clients=20, others=3, rounds=1, pace=Pace(0.1, 0.4, per_second=50.0))
COLUMNS = (
    Column("speed", "handshakes/s"),
    Column("thrift", "per CPU-second of the server"),
    Column("p50", "connect to recovered, p50 ms", spread=False),
    Column("p99", "p99 ms"),
    Column("failed", "failed", spread=False),
    Column("before", "others' p99 without, ms", digits=1),
    Column("meanwhile", "others' p99 meanwhile, ms", digits=1),
    Column("ratio", "the hub's CPU over this", digits=1, unit=" x", main=False),
)


async def measure(bench: Bench) -> list[Table]:
    """Measure the hub and naive aiohttp by turns."""
    sizes = QUICK if bench.quick else WHOLE
    naive = next(peer for peer in PEERS if peer.key == "naive")
    hub_row, naive_row = (
        Row("the hub: API key, three channels, 20 events missed", {}),
        Row("naive aiohttp: handshake alone", {}),
    )
    joining = await _returning(bench)
    others = LiveContender(bench, await redis_process(bench.hub.redis_url))
    command, log = naive.command(bench.hub.redis_url), bench.folder / "storm.log"
    peer = ServerProcess(command, cores=bench.cores, environment=clean_environment(), log=log)
    await peer.start()
    try:
        for _ in range(sizes.rounds):
            hub_row.add({"before": (await others.run(Crowd(sizes.others), sizes.pace)).p99_ms})
            async with _storm(bench, bench.hub.server, joining, sizes.clients, MISSED) as program:
                hub_row.add(await _beside(others, sizes, program, bench.hub.server))
            await bench.hub.server.idle()
            async with _storm(bench, peer, naive.joining, sizes.clients, 0) as program:
                naive_row.add(await _run(program, peer))
            await peer.idle()
    finally:
        await peer.stop()
    naive_row.figures["ratio"] = ratios(naive_row.figures["thrift"], hub_row.figures["thrift"])
    says = (
        f"**{sizes.clients:,} clients come back at once** while {sizes.others} others get 50 messages a second, "
        f"{sizes.rounds} rounds:"
    )
    return [Table("storm", says, "server", COLUMNS, [hub_row, naive_row], _goals(hub_row.figures))]


def _goals(hub: Mapping[str, list[float]]) -> list[Goal]:
    return [
        Goal.at_least("1,500 handshakes/s a core", hub["thrift"], 1500, digits=0),
        Goal.at_most("1.5 s for 99 % of them", hub["p99"], 1500, scale=1e-3, unit=" s"),
        Goal.at_most("no failure", hub["failed"], 0, digits=0),
        Goal.at_most("2 x the others' p99", ratios(hub["meanwhile"], hub["before"]), 2, unit=" x"),
    ]


def _storm(
    bench: Bench, server: ServerProcess, joining: Joining, clients: int, events: int
) -> AbstractAsyncContextManager[Program]:
    records: list[tuple[str, str | bytes]] = [
        ("host", server.host),
        ("port", str(server.port)),
        ("clients", str(clients)),
        ("events", str(events)),
        ("refused", '"recovered":false'),
        *joining.records(server.address),
    ]
    return started(bench.generators, "storm", records)


async def _run(program: Program, server: ServerProcess) -> dict[str, float]:
    before = server.cpu_seconds()
    program.begin()
    done, failed, ns, _, _, p50, p99, _ = await program.numbers(STORM_SECONDS)
    used = server.cpu_seconds() - before
    return {
        "speed": done / ns * 1e9,
        "thrift": done / max(used, 0.01),
        "p50": p50 / 1000,
        "p99": p99 / 1000,
        "failed": failed,
    }


async def _beside(others: LiveContender, sizes: Sizes, program: Program, server: ServerProcess) -> dict[str, float]:
    """Let it begin where the others' window does."""
    async with others.joined(Crowd(sizes.others), sizes.pace) as members:
        measuring = asyncio.create_task(others.measured(members))
        await asyncio.sleep(sizes.pace.warm_seconds)
        figures = await _run(program, server)
        return {**figures, "meanwhile": (await measuring).p99_ms}


async def _returning(bench: Bench) -> Joining:
    """Write what everybody will have missed; tell how one comes back that has seen all before it."""
    organisation = await bench.hub.organisation("writes")
    url, headers = f"http://{bench.hub.server.address}/v2", {"Authorization": f"Bearer {organisation.key}"}
    event = ""
    async with aiohttp.ClientSession(headers=headers) as session:
        for _ in range(MISSED):
            async with session.post(f"{url}/agents", data=BODY, headers={"Content-Type": "application/json"}) as answer:
                answer.raise_for_status()
                event = answer.headers["X-Event-Id"]
        async with session.ws_connect(f"{url}/stream") as socket:
            seen = str(await _position(socket, event) - MISSED)
    channels = [{"channel": channel, "offset": seen} for channel in HUB_CHANNELS]
    asks = orjson.dumps({"type": "subscribe", "channels": channels}).decode()
    return replace(hub_joining(organisation.key), steps=(("", asks),))


async def _position(socket: aiohttp.ClientWebSocketResponse, event: str) -> int:
    """Return an event's position, once it has one: the log may be behind what was written before."""
    while True:
        await socket.send_json({"type": "subscribe", "channels": [{"channel": "agents", "after_event": event}]})
        frame = await socket.receive_json()
        while frame["type"] != "subscribed":
            frame = await socket.receive_json()
        if "offset" in (channel := frame["channels"][0]):
            return int(channel["offset"])
