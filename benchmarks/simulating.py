"""Simulated events a second beside bare SimPy, and many runs of one model on one process and on two."""

import asyncio
import os
import time
from dataclasses import dataclass

from benchmarks.bench import Bench
from benchmarks.report import Column, Goal, Row, Table, ratios
from benchmarks.simulated import bare_simpy, queue_case, the_engine
from core.clock import SystemClock
from handlers.twins.simulation.pool import Limits, Simulators

PROCESSES = 2
OVERHEAD, SPEED_UP = 0.2, 1.5
EVENT_COLUMNS = (
    Column("speed", "simulated events/s"),
    Column("ratio", "time over bare SimPy's", digits=2, unit=" x"),
)
RUN_COLUMNS = (
    Column("speed", "runs/s", digits=1),
    Column("ratio", "over one process", digits=2, unit=" x"),
)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured: `horizon` and `run_horizon` in units of the mean time between arrivals."""

    rounds: int
    horizon: float
    runs: int
    run_horizon: float


WHOLE = Sizes(rounds=5, horizon=100_000.0, runs=100, run_horizon=5_000.0)
QUICK = Sizes(rounds=1, horizon=500.0, runs=4, run_horizon=100.0)


async def measure(bench: Bench) -> list[Table]:
    """Measure both."""
    sizes = QUICK if bench.quick else WHOLE
    rounds = bench.rounds or sizes.rounds
    return [await asyncio.to_thread(_events, sizes, rounds), await _runs(sizes, rounds)]


def _events(sizes: Sizes, rounds: int) -> Table:
    bare, engine = (
        Row("SimPy, as its tutorials write it", {}),
        Row("**the hub's engine**, with series and indicators", {}),
    )
    for seed in range(rounds):
        for row, run in ((bare, bare_simpy), (engine, the_engine)):
            row.figures.setdefault("speed", []).append(run(sizes.horizon, seed).a_second)
    engine.figures["ratio"] = ratios(bare.figures["speed"], engine.figures["speed"])
    overhead = [1 / ratio - 1 if ratio else 0.0 for ratio in ratios(engine.figures["speed"], bare.figures["speed"])]
    says = f"**One queue with one server** at a load of 0.8, {sizes.horizon:,.0f} customers, {rounds} rounds:"
    goal = Goal.at_most("20 % over bare SimPy's time", overhead, OVERHEAD, scale=100, digits=0, unit=" %")
    return Table("simulated", says, "engine", EVENT_COLUMNS, [bare, engine], [goal])


async def _runs(sizes: Sizes, rounds: int) -> Table:
    one, two = Row("1 process", {}), Row(f"{PROCESSES} processes", {})
    own = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else None
    if own is not None:  # nothing else is measured meanwhile
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
    try:
        for seed in range(rounds):
            for row, size in ((one, 1), (two, PROCESSES)):
                row.figures.setdefault("speed", []).append(await _speed(sizes, size, seed))
    finally:
        if own is not None:
            os.sched_setaffinity(0, own)
    two.figures["ratio"] = ratios(two.figures["speed"], one.figures["speed"])
    says = f"**{sizes.runs} runs of it**, {sizes.run_horizon:,.0f} customers each, {rounds} rounds:"
    goal = Goal.at_least("1.5 x one process's runs on two", two.figures["ratio"], SPEED_UP, unit=" x")
    return Table("simulated", says, "runs in", RUN_COLUMNS, [one, two], [goal])


async def _speed(sizes: Sizes, processes: int, seed: int) -> float:
    """Return the runs a second of so many processes, which have been started before."""
    simulators = Simulators(processes, Limits(), SystemClock())
    case = queue_case(sizes.run_horizon)

    async def run(runs: int) -> float:
        begin = time.perf_counter()
        await simulators.run(
            case, horizon=sizes.run_horizon, runs=runs, seed=seed, seconds=600.0, progress=_unheard, owner=None
        )
        return runs / (time.perf_counter() - begin)

    try:
        await run(2 * processes)
        return await run(sizes.runs)
    finally:
        await simulators.close()


def _unheard(_made: int) -> None:
    """Take progress that nobody wants."""
