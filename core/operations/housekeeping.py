"""What time makes superfluous, removed in small steps: idempotency rows older than a day."""

import structlog

from core.clock import Clock
from core.errors import HubError
from core.store.database import Database

EVERY_SECONDS = 600.0
ROWS_A_STEP = 1_000


class Housekeeping:
    """Removes expired rows; `run()` works until cancelled. Several nodes may do it at once."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._log = structlog.get_logger()

    async def run(self) -> None:
        """Sweep now and then; while PostgreSQL is away, later."""
        while True:
            try:
                await self.sweep()
            except HubError as error:
                self._log.warning("housekeeping_postponed", error=error.code)
            await self._clock.sleep(EVERY_SECONDS)

    async def sweep(self) -> int:
        """Remove what has expired; returns how many rows. Raises HubError while PostgreSQL is away."""
        removed = 0
        while True:
            async with self._database.unbound() as db:
                step = await db.fetchval("SELECT sweep_idempotency($1)", ROWS_A_STEP)
            removed += step
            if step < ROWS_A_STEP:
                return removed
