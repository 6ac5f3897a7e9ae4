"""Adds up what writers have changed, in the background of each node."""

import contextlib

from core.clock import Clock
from core.errors import HubError
from core.store.database import Database

# A search counts what waits itself, up to a bound (queries.sql, "fresh"): a shorter time would only make more rows.
EVERY_SECONDS = 2.0
CHANGES_A_STEP = 500


class Folding:
    """Keeps the counts of knowledge up to date. `system` is a pool of hub_system."""

    def __init__(self, system: Database, clock: Clock) -> None:
        self._system = system
        self._clock = clock

    async def run(self) -> None:
        """Fold, until cancelled; while PostgreSQL is away nothing is lost."""
        while True:
            with contextlib.suppress(HubError):
                await fold(self._system)
            await self._clock.sleep(EVERY_SECONDS)


async def fold(database: Database) -> int:
    """Add what has changed, of every organisation, to the counts; returns how many changes there were.

    Any number of sessions may do so at once. Raises HubError while PostgreSQL is away.
    """
    total = 0
    while True:
        async with database.unbound() as db:
            folded = await db.fetchval("SELECT fold_knowledge($1)", CHANGES_A_STEP)
        total += folded
        if folded < CHANGES_A_STEP:
            return total
