"""How long jobs are kept once they have ended."""

from datetime import timedelta

from core.clock import Clock
from core.jobs.jobs import SQL
from core.store.database import Database

ENDED_DAYS = 7
FAILED_DAYS = 30
ROWS_A_STEP = 1_000


class JobRetention:
    """Removes old jobs, in small steps. `system` is a pool of hub_system."""

    def __init__(self, system: Database, clock: Clock) -> None:
        self._system = system
        self._clock = clock

    async def sweep(self) -> int:
        """Remove what ended ENDED_DAYS ago, or failed FAILED_DAYS ago; returns how many.

        Raises HubError while PostgreSQL is away.
        """
        now = self._clock.now()
        ended, failed = now - timedelta(days=ENDED_DAYS), now - timedelta(days=FAILED_DAYS)
        removed = 0
        while True:
            async with self._system.unbound() as db:
                step = await db.fetchval(SQL["sweep"], ended, failed, ROWS_A_STEP)
            removed += step
            if step < ROWS_A_STEP:
                return removed
