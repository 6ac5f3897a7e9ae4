"""What one organisation feels of another that does ten times as much, beside it on one core, without any limit that would hold it.

The one publishes, joins and creates at its pace; the other does each ten times as often, and has readers who read nothing. Clients,
PostgreSQL and Redis share the other cores, so what is measured has their waits too: a create is a commit, and its 99th percentile
on a busy disk is the disk's. The other's clients run when nobody else there wants to.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from statistics import median

from benchmarks.bench import Bench
from benchmarks.report import Column, Goal, Row, Table, percentile_ms, ratios
from benchmarks.sharing import Task, sharing

TIMES = 10
DONE = ("publish, answered", "publish, heard", "join", "create")
COLUMNS = (
    Column("alone_p50", "alone, p50 ms", digits=1, spread=False),
    Column("alone_p99", "p99 ms", digits=1),
    Column("beside_p50", "beside the other, p50 ms", digits=1, spread=False),
    Column("beside_p99", "p99 ms", digits=1),
    Column("ratio", "p99, beside over alone", digits=2, unit=" x"),
    Column("other_p99", "the other's own p99, ms", digits=1, spread=False),
)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured; what each of `persons` does `per_second`."""

    persons: int
    per_second: float
    deaf: int
    rounds: int
    warm_seconds: float
    seconds: float


WHOLE = Sizes(persons=10, per_second=1.0, deaf=20, rounds=5, warm_seconds=1.0, seconds=20.0)
QUICK = Sizes(persons=1, per_second=20.0, deaf=2, rounds=1, warm_seconds=0.1, seconds=0.4)


async def measure(bench: Bench) -> list[Table]:
    """Measure alone and beside the other, by turns."""
    sizes = QUICK if bench.quick else WHOLE
    one = await _task(bench, sizes, "quiet")
    other = replace(await _task(bench, sizes, "noisy"), persons=TIMES * sizes.persons, deaf=sizes.deaf, yields=True)
    rows = {name: Row(name, {}) for name in DONE}
    busy: dict[str, list[float]] = {"alone": [], "beside": []}
    for _ in range(bench.rounds or sizes.rounds):
        async with sharing(one) as quiet, _busy(bench, sizes, busy["alone"]):
            alone = await quiet.run()
        async with sharing(one) as quiet, sharing(other) as noisy, _busy(bench, sizes, busy["beside"]):
            beside, others = await asyncio.gather(quiet.run(), noisy.run())
        for name, row in rows.items():
            row.add(_figures(alone[name], beside[name], others[name]))
        await bench.hub.server.idle()
    for row in rows.values():
        row.figures["ratio"] = ratios(row.figures["beside_p99"], row.figures["alone_p99"])
    rate = sizes.persons * sizes.per_second
    says = (
        f"**One organisation beside another that does {TIMES} times as much**, and has {sizes.deaf} readers who read nothing; the "
        f"one publishes, joins and creates {rate:.0f} times a second each, {bench.rounds or sizes.rounds} rounds:"
    )
    goals = [
        Goal.at_most(f"2 x the p99 alone: {row.name}", row.figures["ratio"], 2, unit=" x") for row in rows.values()
    ]
    notes = [
        f"The hub's core was busy for {_share(busy['alone'])} alone, and for {_share(busy['beside'])} beside the other."
    ]
    return [
        Table("fairness", says, "what", COLUMNS, list(rows.values()), [] if bench.quick else goals, notes, main=False)
    ]


async def _task(bench: Bench, sizes: Sizes, slug: str) -> Task:
    server, organisation = bench.hub.server, await bench.hub.organisation(slug)
    return Task(
        server.host,
        server.port,
        organisation.key,
        sizes.persons,
        sizes.per_second,
        deaf=0,
        yields=False,
        warm_seconds=sizes.warm_seconds,
        seconds=sizes.seconds,
    )


@asynccontextmanager
async def _busy(bench: Bench, sizes: Sizes, noted: list[float]) -> AsyncGenerator[None]:
    """Note which part of a core the hub has used meanwhile."""
    before = bench.hub.server.cpu_seconds()
    yield
    noted.append((bench.hub.server.cpu_seconds() - before) / (sizes.warm_seconds + sizes.seconds))


def _figures(alone: Sequence[int], beside: Sequence[int], others: Sequence[int]) -> dict[str, float]:
    return {
        **{f"{name}_p50": percentile_ms(waits, 50) for name, waits in (("alone", alone), ("beside", beside))},
        **{f"{name}_p99": percentile_ms(waits, 99) for name, waits in (("alone", alone), ("beside", beside))},
        "other_p99": percentile_ms(others, 99),
    }


def _share(busy: Sequence[float]) -> str:
    return f"{median(busy):.0%}"
