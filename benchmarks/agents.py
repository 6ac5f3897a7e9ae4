"""Answers of agents as they are written: what a token costs beside a bare relay, how soon the first comes, how late each is, and
how long a reader waits when the process that wrote its answer is killed.

The provider stands on this machine and writes at a pace; a token is the moment at which it was written.
"""

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from benchmarks.bench import Bench
from benchmarks.contenders import Scales
from benchmarks.deliverers import Engines, asking
from benchmarks.report import Column, Goal, Row, Table, percentile_ms, ratios
from benchmarks.server import ServerProcess, clean_environment
from benchmarks.token_provider import query

# Of a token, as the provider has written it.
STAMP = re.compile(rb"(\d{12,}) ")
EVENT_STREAM = {"Accept": "text/event-stream"}
# Between the beginning of one stream and the next: nobody begins two hundred answers in one moment.
APART_SECONDS = 0.005
RATIO, FURTHER, FIRST_MS, LATE_MS = 2.0, 0.05, 15.0, 150.0
COST_COLUMNS = (
    Column("cost", "server CPU, us a token", digits=1),
    Column("broker_cost", "database and Redis CPU, us a token", digits=1, spread=False),
    Column("ratio", "server, over the relay's", digits=2, unit=" x"),
    Column("first", "first token, p50 ms", digits=1),
)
LATE_COLUMNS = (
    Column("p50", "p50 ms", digits=1),
    Column("p99", "p99 ms", digits=1),
    Column("most", "most ms", digits=1, spread=False),
    Column("cost", "server CPU, us a token", digits=1, spread=False),
)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured. `further`: readers of each answer beside the one that asked."""

    rounds: int
    streams: int
    rate: float
    tokens: int
    further: int
    firsts: int
    many: int
    many_rate: float
    many_tokens: int
    lost: int


WHOLE = Sizes(3, 20, 50.0, 500, 4, 100, 200, 20.0, 300, 8)
QUICK = Sizes(1, 2, 50.0, 20, 1, 3, 4, 20.0, 10, 3)


@dataclass
class Read:
    """What one reader got: how late each token was (ns), when the first came, and whether, and when, it was told of a restart."""

    waits: list[int] = field(default_factory=list[int])
    began: int = 0
    first: int = 0
    restarted: int = 0
    execution: str = ""
    is_named: asyncio.Event = field(default_factory=asyncio.Event)
    has_begun: asyncio.Event = field(default_factory=asyncio.Event)


async def measure(bench: Bench) -> list[Table]:
    """Measure all four."""
    sizes, engines = QUICK if bench.quick else WHOLE, await Engines.of(bench.hub)
    rounds = bench.rounds or sizes.rounds
    organisation = await bench.hub.organisation("agents")
    async with _servers(bench) as relay, asking(bench.hub, organisation) as session:
        async with session.post("/v2/agents", json={"name": "Bench", "config": {"most_tokens": 100_000}}) as answer:
            path = f"/v2/agents/{(await answer.json())['id']}/execute"
        cost = await _cost(bench, sizes, rounds, engines, relay, session, path)
        late = await _late(bench, sizes, rounds, engines, relay, session, path)
        takeover = await _taken_over(bench, sizes, rounds, session, path)
    return [cost, late, takeover]


@asynccontextmanager
async def _servers(bench: Bench) -> AsyncGenerator[ServerProcess]:
    """Start the provider, which needs no core of the server's, and the relay, on the server's."""
    port = bench.hub.model_port
    async with AsyncExitStack() as stack:
        for name, argument, cores in (
            ("token_provider", str(port), None),
            ("token_relay", f"http://127.0.0.1:{port}/v1", bench.cores),
        ):
            command = (sys.executable, "-m", f"benchmarks.{name}", argument)
            log = bench.folder / f"{name}.log"
            process = ServerProcess(command, cores=cores, environment=clean_environment(), log=log)
            await process.start()
            stack.push_async_callback(process.stop)
        yield process


async def _cost(
    bench: Bench,
    sizes: Sizes,
    rounds: int,
    engines: Engines,
    relay: ServerProcess,
    session: aiohttp.ClientSession,
    path: str,
) -> Table:
    bare = Row("bare aiohttp, a relay of server-sent events", {})
    hub = Row("**the hub**, who asked reads", {})
    more = Row(f"**the hub**, and {sizes.further} more read each", {})
    asked = query(sizes.tokens, sizes.rate)
    async with aiohttp.ClientSession(f"http://{relay.address}") as to_relay:
        for _ in range(rounds):
            for row, server, to, at, further in (
                (bare, relay, to_relay, "/execute", 0),
                (hub, bench.hub.server, session, path, 0),
                (more, bench.hub.server, session, path, sizes.further),
            ):
                scales = Scales(server, engines.all())
                await _firsts(to, at, 3)  # connections, statements and caches that the first make
                firsts = await _firsts(to, at, sizes.firsts)
                await bench.hub.server.idle()
                scales.start()
                read = await _streams(to, at, asked, sizes.streams, further)
                _weigh(row, scales, sum(len(each.waits) for each in read[: sizes.streams]))
                row.figures.setdefault("first", []).append(percentile_ms(firsts, 50))
    hub.figures["ratio"] = ratios(hub.figures["cost"], bare.figures["cost"])
    more.figures["ratio"] = ratios(more.figures["cost"], bare.figures["cost"])
    further = [
        (of_more - of_one) / of_one / sizes.further
        for of_more, of_one in zip(more.figures["cost"], hub.figures["cost"], strict=True)
    ]
    goals = [
        Goal.at_most("2 x a bare relay's CPU for one reader", hub.figures["ratio"], RATIO, unit=" x"),
        Goal.at_most("5 % more for each further reader", further, FURTHER, scale=100, digits=1, unit=" %"),
        Goal.at_most("15 ms until the first token, p50", hub.figures["first"], FIRST_MS, digits=1, unit=" ms"),
    ]
    says = (
        f"**{sizes.streams} answers at once**, {sizes.rate:.0f} tokens/s each, {sizes.tokens} tokens, {rounds} rounds:"
    )
    return Table("agents", says, "server", COST_COLUMNS, [bare, hub, more], goals)


async def _late(
    bench: Bench,
    sizes: Sizes,
    rounds: int,
    engines: Engines,
    relay: ServerProcess,
    session: aiohttp.ClientSession,
    path: str,
) -> Table:
    # The relay tells what the provider and the readers add, who share the other core.
    bare, row = Row("bare aiohttp, a relay of server-sent events", {}), Row("**the hub**", {})
    asked = query(sizes.many_tokens, sizes.many_rate)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(f"http://{relay.address}", connector=connector) as to_relay:
        for _ in range(rounds):
            for of, server, to, at in (
                (bare, relay, to_relay, "/execute"),
                (row, bench.hub.server, session, path),
            ):
                await bench.hub.server.idle()
                scales = Scales(server, engines.all())
                scales.start()
                waits = [wait for each in await _streams(to, at, asked, sizes.many, 0) for wait in each.waits]
                _weigh(of, scales, len(waits))
                for name, share in (("p50", 50), ("p99", 99), ("most", 100)):
                    of.figures.setdefault(name, []).append(percentile_ms(waits, share))
    goals = [Goal.at_most("150 ms, p99 of a token", row.figures["p99"], LATE_MS, digits=1, unit=" ms")]
    says = (
        f"**{sizes.many} answers at once on one node**, {sizes.many_rate:.0f} tokens/s each: from a token's being written to its "
        f"reader, {rounds} rounds:"
    )
    return Table("agents", says, "server", LATE_COLUMNS, [bare, row], goals)


async def _taken_over(bench: Bench, sizes: Sizes, rounds: int, session: aiohttp.ClientSession, path: str) -> Table:
    waits = [wait for _ in range(rounds) for wait in await _kill_one(bench, sizes, session, path)]
    row = Row("**the hub**", {"p50": [percentile_ms(waits, 50)], "most": [percentile_ms(waits, 100)]})
    columns = (Column("p50", "p50 ms", digits=0), Column("most", "most ms", digits=0))
    says = f"**A process that writes answers is killed** (SIGKILL): until their readers are told who goes on, {len(waits)} answers:"
    return Table("agents", says, "server", columns, [row])


async def _kill_one(bench: Bench, sizes: Sizes, session: aiohttp.ClientSession, path: str) -> list[int]:
    """Have answers begun at another process, which writes most of them, and read at this; kill it, and return how long those waited
    that it wrote (ns)."""
    other = bench.hub.another()
    await other.start()
    read = [Read() for _ in range(sizes.lost)]
    reading: list[asyncio.Task[None]] = []
    for each in read:
        each.execution = await _begin(session, f"http://{other.address}{path}", query(60, 20.0))
        each.is_named.set()
        reading.append(asyncio.create_task(_join(session, each, each)))
    await asyncio.gather(*(each.has_begun.wait() for each in read))
    killed = time.monotonic_ns()
    os.kill(other.pid, signal.SIGKILL)
    await asyncio.gather(*reading)
    await other.stop()
    return [each.restarted - killed for each in read if each.restarted]


async def _begin(session: aiohttp.ClientSession, url: str, asked: str) -> str:
    async with session.post(url, json={"query": asked}, headers={"Prefer": "respond-async"}) as answer:
        return str((await answer.json())["id"])


def _weigh(row: Row, scales: Scales, tokens: int) -> None:
    server, brokers = scales.read()
    row.figures.setdefault("cost", []).append(server / max(tokens, 1) * 1e6)
    row.figures.setdefault("broker_cost", []).append(brokers / max(tokens, 1) * 1e6)


async def _firsts(session: aiohttp.ClientSession, path: str, count: int) -> list[int]:
    """Ask one after the other, for a token that is written at once; return how long each took (ns)."""
    found: list[int] = []
    for _ in range(count):
        read = Read()
        await _ask(session, path, query(1, 0), read)
        found.append(read.first - read.began)
    return found


async def _streams(session: aiohttp.ClientSession, path: str, asked: str, count: int, further: int) -> list[Read]:
    """Have so many answers written at once, each read by who asked and `further` more; those who asked come first."""
    asking_ = [Read() for _ in range(count)]
    others = [Read() for _ in range(count * further)]
    async with asyncio.TaskGroup() as group:
        for number, read in enumerate(asking_):
            group.create_task(_ask(session, path, asked, read))
            for other in others[number * further : (number + 1) * further]:
                group.create_task(_join(session, read, other))
            await asyncio.sleep(APART_SECONDS)
    return [*asking_, *others]


async def _ask(session: aiohttp.ClientSession, path: str, asked: str, read: Read) -> None:
    read.began = time.monotonic_ns()
    timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
    async with session.post(path, json={"query": asked}, headers=EVENT_STREAM, timeout=timeout) as answer:
        await _read(answer, read)


async def _join(session: aiohttp.ClientSession, first: Read, read: Read) -> None:
    await first.is_named.wait()
    async with session.get(f"/v2/executions/{first.execution}", headers=EVENT_STREAM) as answer:
        await _read(answer, read)


async def _read(answer: aiohttp.ClientResponse, read: Read) -> None:
    """Read to the end. Raises RuntimeError where the answer did not end well."""
    kind = b""
    async for line in answer.content:
        if line.startswith(b"event: "):
            kind = line[7:-1]
        elif line.startswith(b"data: "):
            _take(kind, line, read)
    if kind != b"run.completed":
        raise RuntimeError(f"the last that was read is {kind.decode()}")


def _take(kind: bytes, data: bytes, read: Read) -> None:
    now = time.monotonic_ns()
    if not read.execution and b'"execution_id":"' in data:
        read.execution = data.partition(b'"execution_id":"')[2][:36].decode()
        read.is_named.set()
    if kind.endswith(b"delta"):
        read.first = read.first or now
        read.has_begun.set()
        read.waits += [now - int(stamp) for stamp in STAMP.findall(data)]
    elif kind == b"run.restarted":
        read.restarted = read.restarted or now
