"""One process and two, `serve --workers 2`: what a delivery costs to the same members, by turns."""

import asyncio
from dataclasses import dataclass

from benchmarks.bench import Bench
from benchmarks.contenders import LiveContender, redis_process
from benchmarks.job import Crowd, Pace
from benchmarks.report import Column, Goal, Row, Table, ratios

WORKERS = 2
SETTLE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    crowd: Crowd
    pace: Pace
    rounds: int


WHOLE = Sizes(Crowd(2000), Pace(0.5, 4.0, per_second=50.0), rounds=3)
QUICK = Sizes(Crowd(20), Pace(0.1, 0.4, per_second=50.0), rounds=1)
COLUMNS = (
    Column("cost", "server CPU, µs a delivery", digits=2),
    Column("p50", "publish to last member, p50 ms", digits=1, spread=False),
    Column("p99", "p99 ms", digits=1),
    Column("busy", "server busy, cores", digits=2, spread=False),
)


async def measure(bench: Bench) -> list[Table]:
    """Measure both by turns, on the same cores."""
    sizes = QUICK if bench.quick else WHOLE
    redis = await redis_process(bench.hub.redis_url)
    several = bench.hub.another("--workers", str(WORKERS))
    await several.start()
    contenders = [LiveContender(bench, redis), LiveContender(bench, redis, server=several)]
    rows = [Row("one process", {}), Row(f"`serve --workers {WORKERS}`", {})]
    try:
        await asyncio.sleep(SETTLE_SECONDS)
        for _ in range(sizes.rounds):
            for contender, row in zip(contenders, rows, strict=True):
                row.add((await contender.run(sizes.crowd, sizes.pace)).figures())
    finally:
        await several.stop()
    says = f"**Two processes**, 50 messages a second to {sizes.crowd.members:,} members, {sizes.rounds} rounds:"
    over = ratios(rows[1].figures["cost"], rows[0].figures["cost"])
    goal = Goal.at_most("1.1 x the CPU a delivery of one process", over, 1.1, unit=" x")
    return [Table("workers", says, "server", COLUMNS, rows, [goal])]
