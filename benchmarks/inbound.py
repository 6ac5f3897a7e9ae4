"""Frames that clients publish into a live room: in, through credential, limit, offset and history in Redis, and out to a listener.

Beside the hub stands naive aiohttp: what comes is published with redis-py and answered, nothing else.
"""

import sys
from dataclasses import dataclass
from typing import Protocol
from uuid import uuid4

import orjson

from benchmarks.bench import Bench
from benchmarks.generator import hub_joining
from benchmarks.job import MARK, Joining
from benchmarks.programs import started
from benchmarks.report import Column, Goal, Row, Table, ratios
from benchmarks.server import ServerProcess, clean_environment

ROUND_SECONDS = 60.0
DATA_BYTES = 64


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured; of each publisher, one frame under way, then `in_flight`."""

    publishers: int
    in_flight: tuple[int, ...]
    rounds: int
    warm_seconds: float
    seconds: float


WHOLE = Sizes(publishers=50, in_flight=(1, 8), rounds=3, warm_seconds=0.5, seconds=2.5)
QUICK = Sizes(publishers=5, in_flight=(1,), rounds=1, warm_seconds=0.1, seconds=0.3)
COLUMNS = (
    Column("speed", "frames/s"),
    Column("thrift", "per CPU-second of the server"),
    Column("p50", "answered, p50 ms", digits=1, spread=False),
    Column("p99", "p99 ms", digits=1, spread=False),
    Column("heard_p99", "at the listener, p99 ms", digits=1, spread=False),
    Column("ratio", "the hub's CPU a frame over these", digits=2, unit=" x"),
    Column("generator", "generator busy", scale=100, unit=" %", spread=False, main=False),
)


class _Door(Protocol):
    """A server that takes frames: how one joins a room of its own, what publishes into it, and how the answer begins."""

    @property
    def title(self) -> str: ...

    @property
    def server(self) -> ServerProcess: ...

    def frames(self) -> tuple[Joining, str, str]: ...


@dataclass(frozen=True, slots=True)
class _Hub:
    server: ServerProcess
    key: str
    title: str = "the hub"

    def frames(self) -> tuple[Joining, str, str]:
        room = f"chat:bench-{uuid4().hex[:12]}"
        frame = orjson.dumps({"type": "publish", "id": 1, "channel": room, "data": _data()}).decode()
        return hub_joining(self.key, (room,)), frame, '{"type":"result"'


@dataclass(frozen=True, slots=True)
class _Naive:
    server: ServerProcess
    title: str = "naive aiohttp: `await redis.publish`, `await ws.send_str`"

    def frames(self) -> tuple[Joining, str, str]:
        joining = Joining(path="/", steps=(("", '{"type":"subscribe"}'),), ready='{"type":"subscribed"')
        return joining, orjson.dumps({"type": "publish", "id": 1, "data": _data()}).decode(), '{"type":"result"'


def _data() -> str:
    return MARK + "." * (DATA_BYTES - len(MARK))


async def measure(bench: Bench) -> list[Table]:
    """Measure both in turns."""
    sizes = QUICK if bench.quick else WHOLE
    organisation = await bench.hub.organisation("reads")
    command = (sys.executable, "-m", "benchmarks.naive_inbound", bench.hub.redis_url)
    naive = ServerProcess(command, cores=bench.cores, environment=clean_environment(), log=bench.folder / "inbound.log")
    await naive.start()
    doors: list[_Door] = [_Hub(bench.hub.server, organisation.key), _Naive(naive)]
    rows = [[Row(_title(door, many), {}) for door in doors] for many in sizes.in_flight]
    try:
        for _ in range(sizes.rounds):
            for many, some in zip(sizes.in_flight, rows, strict=True):
                for door, row in zip(doors, some, strict=True):
                    row.add(await _run(bench, door, sizes, many))
    finally:
        await naive.stop()
    for hub, peer in rows:
        peer.figures["ratio"] = ratios(peer.figures["thrift"], hub.figures["thrift"])
    says = (
        f"**Published by {sizes.publishers} clients**, {DATA_BYTES} bytes each, to one listener, {sizes.rounds} rounds:"
    )
    goal = Goal.at_least(
        "12,000 frames/s a core", rows[-1][0].figures["thrift"], 12_000, digits=1, scale=1e-3, unit=" k"
    )
    return [Table("inbound", says, "server", COLUMNS, [row for some in rows for row in some], [goal])]


def _title(door: _Door, many: int) -> str:
    return f"{door.title}, {many} under way on each"


async def _run(bench: Bench, door: _Door, sizes: Sizes, in_flight: int) -> dict[str, float]:
    joining, publish, answer = door.frames()
    records: list[tuple[str, str | bytes]] = [
        ("host", door.server.host),
        ("port", str(door.server.port)),
        ("clients", str(sizes.publishers)),
        *joining.records(door.server.address),
        ("publish", publish),
        ("answer", answer),
        ("also", '{"type":"welcome"'),
        ("in_flight", str(in_flight)),
        ("warm_ms", f"{sizes.warm_seconds * 1000:.0f}"),
        ("measure_ms", f"{sizes.seconds * 1000:.0f}"),
    ]
    async with started(bench.generators, "inbound", records) as program:
        await door.server.idle()
        program.begin()
        await program.line(ROUND_SECONDS)
        before = door.server.cpu_seconds()
        ns, cpu_us, answers, p50, p99, _, _, _, heard_p99, _ = await program.numbers(ROUND_SECONDS)
        used = door.server.cpu_seconds() - before
    await door.server.idle()
    return {
        "speed": answers / ns * 1e9,
        "thrift": answers / max(used, 0.01),
        "p50": p50 / 1000,
        "p99": p99 / 1000,
        "heard_p99": heard_p99 / 1000,
        "generator": cpu_us * 1000 / ns,
    }
