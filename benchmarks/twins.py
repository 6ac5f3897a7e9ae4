"""Twins at size: lists of a hundred thousand, now and as of then, and updates of state beside a plain upsert by asyncpg."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import aiohttp
import asyncpg
import orjson

from benchmarks.bench import Bench
from benchmarks.deliverers import asking
from benchmarks.generator import Request, ask
from benchmarks.report import Column, Goal, Row, Table, percentile_ms, ratios

BATCH = 100
FILLERS = 4
# A twin that is updated has about so much state.
STATE = {"site": "north", "readings": {f"sensor{number}": number * 1.5 for number in range(20)}, "mode": "auto"}
LISTED_MS = 20.0
LIST_COLUMNS = (
    Column("p50", "p50 ms", digits=1),
    Column("p99", "p99 ms", digits=1),
)
STATE_COLUMNS = (
    Column("speed", "updates/s"),
    Column("cost", "server CPU, us an update", spread=False),
    Column("p50", "p50 ms", digits=1, spread=False),
    Column("p99", "p99 ms", digits=1, spread=False),
    Column("ratio", "the plain upsert's speed over this", digits=1, unit=" x"),
)
_TABLE = "CREATE TABLE bench.plain (id integer PRIMARY KEY, data jsonb NOT NULL)"
_UPSERT = """
INSERT INTO bench.plain AS kept (id, data) VALUES ($1, $2::jsonb)
ON CONFLICT (id) DO UPDATE SET data = kept.data || excluded.data
"""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    rounds: int
    twins: int
    lists: int
    connections: int
    warm_seconds: float
    seconds: float


WHOLE = Sizes(rounds=3, twins=100_000, lists=200, connections=32, warm_seconds=0.5, seconds=3.0)
QUICK = Sizes(rounds=1, twins=200, lists=5, connections=4, warm_seconds=0.1, seconds=0.3)


async def measure(bench: Bench) -> list[Table]:
    """Measure the lists, then the updates."""
    sizes = QUICK if bench.quick else WHOLE
    rounds = bench.rounds or sizes.rounds
    return [await _lists(bench, sizes, rounds), await _updates(bench, sizes, rounds)]


async def _lists(bench: Bench, sizes: Sizes, rounds: int) -> Table:
    organisation = await bench.hub.organisation("many-twins")
    async with asking(bench.hub, organisation) as session:
        ids = await _fill(session, sizes.twins)
        then = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        await _touch(session, ids[:: max(1, len(ids) // 1_000)])
        await bench.hub.server.idle()
        queries = {
            "of now": "per_page=20",
            "of now, of one type": "per_page=20&type=pump",
            "`as_of` a moment before the last thousand changes": f"per_page=20&as_of={then}",
        }
        rows = [Row(name, {}) for name in queries]
        for _ in range(rounds):
            for row, query in zip(rows, queries.values(), strict=True):
                waits = await _asked(session, f"/v2/twins?{query}", sizes.lists)
                row.figures.setdefault("p50", []).append(percentile_ms(waits, 50))
                row.figures.setdefault("p99", []).append(percentile_ms(waits, 99))
    says = (
        f"**A list of 20 among {sizes.twins:,} twins**, asked {sizes.lists} times one after the other, {rounds} rounds:"
    )
    goals = [
        Goal.at_most(f"20 ms p50, a list {row.name}", row.figures["p50"], LISTED_MS, digits=1, unit=" ms")
        for row in (rows[0], rows[2])
    ]
    return Table("twins", says, "list", LIST_COLUMNS, rows, goals)


async def _fill(session: aiohttp.ClientSession, many: int) -> list[str]:
    """Make so many twins, of five types, by batches; return their ids."""
    ids: list[str] = []
    starts = iter(range(0, many, BATCH))

    async def make() -> None:
        for start in starts:
            ids.extend(await _batch(session, [_creation(number) for number in range(start, min(many, start + BATCH))]))

    await asyncio.gather(*(make() for _ in range(FILLERS)))
    return ids


def _creation(number: int) -> dict[str, object]:
    kind = ("pump", "line", "depot", "truck", "store")[number % 5]
    body = {"name": f"Twin {number}", "type": kind, "data": {"number": number, "site": number % 50}}
    return {"method": "POST", "path": "/v2/twins", "body": body}


async def _touch(session: aiohttp.ClientSession, ids: Sequence[str]) -> None:
    """Give each another version."""
    for at in range(0, len(ids), BATCH):
        body = {"data": {"touched": at}}
        await _batch(
            session, [{"method": "PATCH", "path": f"/v2/twins/{id}", "body": body} for id in ids[at : at + BATCH]]
        )


async def _batch(session: aiohttp.ClientSession, operations: Sequence[Mapping[str, object]]) -> list[str]:
    """Have a batch done, and return the ids. Raises RuntimeError where one of it is refused."""
    async with session.post("/v2/batch", json={"operations": operations, "atomic": True}) as answer:
        results = orjson.loads(await answer.read())["results"]
    if any(result["status"] >= 300 for result in results):
        raise RuntimeError(f"a twin was refused: {results[0]}")
    return [result["body"]["id"] for result in results]


async def _asked(session: aiohttp.ClientSession, path: str, times: int) -> list[int]:
    """Ask so often, one after the other; return how long each took (ns)."""
    waits: list[int] = []
    for _ in range(times):
        begin = time.monotonic_ns()
        async with session.get(path) as answer:
            await answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{path} was answered with {answer.status}")
        waits.append(time.monotonic_ns() - begin)
    return waits


async def _updates(bench: Bench, sizes: Sizes, rounds: int) -> Table:
    organisation = await bench.hub.organisation("states")
    async with asking(bench.hub, organisation) as session:
        bodies = [{"method": "POST", "path": "/v2/twins", "body": {"name": "State", "type": "pump", "data": STATE}}]
        ids = [id for _ in range(sizes.connections) for id in await _batch(session, bodies)]
    change = orjson.dumps({"data": {"readings": {"sensor3": 42.0}, "mode": "manual"}})
    patches = [Request("PATCH", f"/v2/twins/{id}", 200, organisation.key, change) for id in ids]
    hub, plain = (
        Row("**the hub**, JSON Merge Patch: version, history, event, audit", {}),
        Row("asyncpg, a plain upsert of JSONB, nothing else", {}),
    )
    upserts = await _Upserts.open(bench.hub.database_url, sizes.connections)
    try:
        for _ in range(rounds):
            answers = await ask(
                bench.generators,
                bench.hub.server,
                *patches,
                connections=sizes.connections,
                warm_seconds=sizes.warm_seconds,
                seconds=sizes.seconds,
            )
            figures = {
                "speed": answers.requests / answers.seconds,
                "cost": answers.cpu_seconds / max(1, answers.requests) * 1e6,
                "p50": answers.p50_us / 1000,
                "p99": answers.p99_us / 1000,
            }
            hub.add(figures)
            plain.add(await upserts.run(sizes.seconds))
    finally:
        await upserts.close()
    hub.figures["ratio"] = ratios(plain.figures["speed"], hub.figures["speed"])
    says = f"**Updates of state** by {sizes.connections} connections, each of a twin of its own, {rounds} rounds:"
    return Table("twins", says, "way", STATE_COLUMNS, [hub, plain])


class _Upserts:
    """Connections that upsert, each a row of its own."""

    def __init__(self, connections: Sequence["asyncpg.Connection"]) -> None:
        self._connections = connections

    @classmethod
    async def open(cls, url: str, many: int) -> "_Upserts":
        """Connect, and make the table. It is in a schema of its own."""
        connections = [await asyncpg.connect(url) for _ in range(many)]
        await connections[0].execute("CREATE SCHEMA bench")
        await connections[0].execute(_TABLE)
        return cls(connections)

    async def run(self, seconds: float) -> dict[str, float]:
        """Upsert for so long; return how many a second, and how long each took."""
        waits: list[int] = []
        begin = time.monotonic_ns()
        end = begin + round(seconds * 1e9)
        await asyncio.gather(*(self._some(each, number, end, waits) for number, each in enumerate(self._connections)))
        took = (time.monotonic_ns() - begin) / 1e9
        return {"speed": len(waits) / took, "p50": percentile_ms(waits, 50), "p99": percentile_ms(waits, 99)}

    async def close(self) -> None:
        """Drop the table, and disconnect."""
        await self._connections[0].execute("DROP SCHEMA bench CASCADE")
        for each in self._connections:
            await each.close()

    @staticmethod
    async def _some(connection: "asyncpg.Connection", number: int, end: int, waits: list[int]) -> None:
        whole, part = orjson.dumps(STATE).decode(), '{"readings": {"sensor3": 42.0}, "mode": "manual"}'
        statement = await connection.prepare(_UPSERT)
        await statement.fetch(number, whole)
        while (began := time.monotonic_ns()) < end:
            await statement.fetch(number, part)
            waits.append(time.monotonic_ns() - began)
