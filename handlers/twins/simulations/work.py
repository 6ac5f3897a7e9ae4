"""Doing simulations: jobs of the kind simulations.run. The runs themselves are done by other processes (Simulators).

take -> tell that it began -> runs of the case -> runs of the baseline -> result -> end

Whoever takes it up after a worker that died begins anew: the seed is kept, so the result is the same, byte for byte.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID

import orjson
import structlog

from core.clock import Clock
from core.deadline import end_tasks, ended_within
from core.errors import HubError
from core.jobs.kind import JobKind, RetryPolicy
from core.jobs.run import JobLost, JobRun
from handlers.lasting.announcing import Rooms
from handlers.lasting.told import emit
from handlers.twins.simulation.model import Case
from handlers.twins.simulation.replication import Replication, SimulationError
from handlers.twins.simulation.results import result
from handlers.twins.simulation.scenarios import Built
from handlers.twins.simulations.ending import KIND, NOTHING, Ending, Outcome, end, told_of
from handlers.twins.simulations.store import SQL
from handlers.twins.simulations.telling import Telling
from rooms.fence import Outrun

# Their runs wait for the processes that simulate, but each holds its runs in memory until it has its result.
CONCURRENCY = 8
RETRY = RetryPolicy(attempts=8, first_seconds=0.5, factor=2.0, most_seconds=10.0)
# Errors of the pool that another attempt, on this node or another, may be spared.
_PASSING = frozenset({"SERVICE_UNAVAILABLE"})
_TIMEOUT = ("TIMEOUT", "It took longer than it may")


class Simulates(Protocol):
    """Does runs in other processes (handlers.twins.simulation.pool.Simulators)."""

    async def run(
        self,
        case: Case,
        *,
        horizon: float,
        runs: int,
        seed: int,
        seconds: float,
        progress: Callable[[int], None],
        owner: object = None,
    ) -> list[Replication]:
        """Return all runs, in their order; `progress` is told how many are done. Raises HubError, SimulationError."""
        ...


class SimulationWork:
    """Does simulations. `poke` wakes the relay, `announce` whoever tells of ends; both after a commit."""

    def __init__(
        self,
        rooms: Rooms,
        simulators: Simulates,
        clock: Clock,
        *,
        poke: Callable[[], None],
        announce: Callable[[], None],
    ) -> None:
        self._rooms = rooms
        self._simulators = simulators
        self._clock = clock
        self._poke = poke
        self._announce = announce

    @property
    def kind(self) -> JobKind:
        """The kind of its jobs."""
        return JobKind(KIND, self.run, RETRY, concurrency=CONCURRENCY, most_seconds=2 * 3600.0)

    async def run(self, job: JobRun) -> None:
        """Do one attempt at one simulation."""
        row = await self._take(job)
        if row is None:  # it has ended
            return
        self._poke()
        try:
            await self._attempt(job, row)
        except Outrun:
            structlog.get_logger().info("simulation_outrun", simulation=str(row["id"]), attempt=row["attempt"])
        except JobLost:
            pass

    async def _take(self, job: JobRun) -> Any:
        now = self._clock.now()
        async with job.transaction() as db:
            row = await db.fetchrow(SQL["take"], UUID(job.payload["simulation"]), now)
            if row is not None and row["attempt"] == 1:
                await emit(db, row["org_id"], [told_of(row, "started")], now)
        return row

    async def _attempt(self, job: JobRun, row: Any) -> None:
        telling = Telling(job, self._rooms, self._clock, row, self._poke)
        left = max(0.0, (row["deadline_at"] - self._clock.now()) / timedelta(seconds=1))
        working = asyncio.create_task(self._work(job, row, telling, left), name="simulation")
        saying = asyncio.create_task(telling.run(), name="progress of a simulation")
        try:
            if not await ended_within(self._clock, left, working, saying):
                await end_tasks([working])
                await self._end(job, row, "failed", error=_TIMEOUT)
                return
            for task in (saying, working):  # an attempt that is outrun has nothing more to say
                if task.done():
                    await task
        finally:
            await end_tasks([working, saying])

    async def _work(self, job: JobRun, row: Any, telling: Telling, seconds: float) -> None:
        await telling.open()
        try:
            outcome = await self._outcome(row, telling, seconds)
        except SimulationError as error:
            await self._end(job, row, "failed", error=(error.code, error.message))
        except HubError as error:
            if error.code in _PASSING:
                raise
            told = _TIMEOUT if error.code == "TIMEOUT" else (error.code, error.text)
            await self._end(job, row, "failed", error=told)
        else:
            await self._end(job, row, "completed", outcome=outcome)

    async def _outcome(self, row: Any, telling: Telling, seconds: float) -> Outcome:
        built = Built.model_validate_json(row["plan"])
        until = self._clock.monotonic() + seconds

        async def done(case: Case, before: int) -> list[Replication]:
            return await self._simulators.run(
                case,
                horizon=row["horizon"],
                runs=row["runs"],
                seed=row["seed"],
                seconds=max(0.0, until - self._clock.monotonic()),
                progress=lambda count: telling.count(before + count),
                owner=row["org_id"],
            )

        runs = await done(built.case, 0)
        baseline = await done(built.baseline, row["runs"]) if row["has_baseline"] else None
        # Percentiles of many runs take their time: the node goes on meanwhile.
        return await asyncio.to_thread(_Summed(built, runs, baseline, row["horizon"], row["seed"]).outcome)

    async def _end(
        self,
        job: JobRun,
        row: Any,
        status: Ending,
        *,
        outcome: Outcome = NOTHING,
        error: tuple[str, str] | None = None,
    ) -> None:
        now = self._clock.now()
        async with job.finishing() as db:
            held = await db.fetchrow(SQL["hold"], row["id"])
            if held is None or held["attempt"] != row["attempt"] or held["status"] != "running":
                raise Outrun
            ended = await end(db, held, status, now, outcome=outcome, error=error)
            await emit(db, row["org_id"], [ended.told], now)
        self._poke()
        self._announce()


@dataclass(frozen=True, slots=True)
class _Summed:
    built: Built
    runs: Sequence[Replication]
    baseline: Sequence[Replication] | None
    horizon: float
    seed: int

    def outcome(self) -> Outcome:
        found = result(self.built, self.runs, self.baseline, horizon=self.horizon, seed=self.seed)
        rest = {"series": found.series, "baseline": found.baseline, "notable": found.notable}
        return Outcome(orjson.dumps(found.summary).decode(), orjson.dumps(rest).decode())
