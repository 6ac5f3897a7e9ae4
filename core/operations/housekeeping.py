"""What time makes superfluous, removed in small steps by a job that comes every ten minutes."""

from collections.abc import Awaitable, Callable, Mapping

from core.jobs.kind import JobKind
from core.jobs.run import JobRun
from core.jobs.schedules import Schedule
from core.store.database import Database

NAME = "housekeeping"
EVERY_SECONDS = 600.0
ROWS_A_STEP = 1_000
SCHEDULE = Schedule(NAME, NAME, every=EVERY_SECONDS)

Sweep = Callable[[], Awaitable[int]]


class Housekeeping:
    """Runs `sweeps`, each of which says how many rows it removed; the job's result has these by name."""

    def __init__(self, sweeps: Mapping[str, Sweep]) -> None:
        self._sweeps = sweeps

    @property
    def kind(self) -> JobKind:
        """The kind of its jobs: one at a time."""
        return JobKind(NAME, self._tidy, concurrency=1)

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
