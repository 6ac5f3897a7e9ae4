"""What time makes superfluous of the log of queries, and counts that become one, in small steps."""

from core.operations.housekeeping import ROWS_A_STEP
from core.store.database import Database


async def sweep_queries(database: Database, days: int) -> int:
    """Remove queries and their counts that are older than `days`; returns how many rows. Raises HubError while PostgreSQL is away.

    What the statistics tell of a week is kept for it.
    """
    return sum(
        [
            await _swept(database, "SELECT sweep_queries($1, $2)", days),
            await _swept(database, "SELECT sweep_usage($1, $2)", days),
        ]
    )


async def fold_counts(database: Database) -> int:
    """Make one row of the many that count the same documents; returns how many are gone. Raises HubError as above."""
    async with database.unbound() as db:
        return await db.fetchval("SELECT fold_counts()")


async def _swept(database: Database, statement: str, days: int) -> int:
    removed = 0
    while True:
        async with database.unbound() as db:
            step = await db.fetchval(statement, ROWS_A_STEP, days)
        removed += step
        if step < ROWS_A_STEP:
            return removed
