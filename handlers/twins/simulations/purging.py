"""Simulations of a twin that is gone: those that are at work are cancelled, then all are removed."""

from collections.abc import Callable
from uuid import UUID

from core.clock import Clock
from core.jobs.jobs import Jobs
from core.jobs.run import JobRun
from core.store.statements import Statements
from handlers.lasting.told import emit
from handlers.twins.simulations.ending import cancel
from handlers.twins.simulations.store import SQL

# A simulation that has ended may be a MiB.
AT_ONCE = 100
LOOK_SECONDS = 0.5
# So long those who follow one may take to hear of its end, which is read from its row; while Redis is away none does.
MOST_LOOKS = 20


class SimulationPurge:
    """`after` is called when something was ended, after the commit."""

    def __init__(self, jobs: Jobs, clock: Clock, *, after: Callable[[], None]) -> None:
        self._jobs = jobs
        self._clock = clock
        self._after = after

    async def __call__(self, run: JobRun, twin_id: UUID) -> None:
        """Remove all simulations of a twin. Raises JobLost."""
        while await self._cancelled(run, twin_id):
            self._after()
        for _ in range(MOST_LOOKS):
            if not await self._removed(run, twin_id, all_=False):
                return
            await self._clock.sleep(LOOK_SECONDS)
        await self._removed(run, twin_id, all_=True)

    async def _cancelled(self, run: JobRun, twin_id: UUID) -> int:
        """Cancel one that is at work; the job's own row is held, and then those of one simulation only."""
        async with run.transaction() as db:
            found = await db.fetch(SQL["open_of_twin"], twin_id, 1)
            for row in found:
                await self._cancel(db, run, row["id"])
            return len(found)

    async def _cancel(self, db: Statements, run: JobRun, id: UUID) -> None:
        assert run.org_id is not None  # noqa: S101 - the job is an organisation's
        now = self._clock.now()
        ended = await cancel(db, self._jobs, run.org_id, id, now)
        if ended is not None:
            await emit(db, run.org_id, [ended.told], now)

    async def _removed(self, run: JobRun, twin_id: UUID, *, all_: bool) -> bool:
        """Remove them; returns whether any is left."""
        while True:
            async with run.transaction() as db:
                removed = int((await db.execute(SQL["purge"], twin_id, AT_ONCE, all_)).rpartition(" ")[2])
                if removed < AT_ONCE:
                    return await db.fetchval(SQL["any_left"], twin_id)
