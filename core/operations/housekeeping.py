"""What time makes superfluous, removed in small steps by jobs that come by themselves."""

from collections.abc import Awaitable, Callable, Mapping

from core.jobs.kind import JobKind
from core.jobs.run import JobRun
from core.jobs.schedules import Schedule
from core.store.database import Database

ROWS_A_STEP = 1_000

Sweep = Callable[[], Awaitable[int]]


class Housekeeping:
    """Has `sweeps` run every so many seconds, each of which says how many rows it took; the job's result has these by name."""

    def __init__(self, name: str, every: float, sweeps: Mapping[str, Sweep]) -> None:
        self._name = name
        self._every = every
        self._sweeps = sweeps

    @property
    def kind(self) -> JobKind:
        """The kind of its jobs: one at a time."""
        return JobKind(self._name, self._tidy, concurrency=1)

    @property
    def schedule(self) -> Schedule:
        """When they come."""
        return Schedule(self._name, self._name, every=self._every)

    async def _tidy(self, run: JobRun) -> dict[str, int]:
        removed: dict[str, int] = {}
        for name, sweep in self._sweeps.items():
            removed[name] = await sweep()
            await run.tell(removed)
        return removed


async def sweep_idempotency(database: Database) -> int:
    """Remove idempotency rows older than a day; returns how many. Raises HubError while PostgreSQL is away."""
    return await _swept(database, "SELECT sweep_idempotency($1)")


async def sweep_attempts(database: Database) -> int:
    """Remove attempts of deliveries older than a week; returns how many. Raises HubError while PostgreSQL is away."""
    return await _swept(database, "SELECT sweep_attempts($1)")


async def _swept(database: Database, statement: str) -> int:
    removed = 0
    while True:
        async with database.unbound() as db:
            step = await db.fetchval(statement, ROWS_A_STEP)
        removed += step
        if step < ROWS_A_STEP:
            return removed
