"""What a deleted twin had measured goes by a job, some at a time (handlers/twins/purging.py)."""

from uuid import UUID

from core.jobs.run import JobRun
from handlers.twins.telemetry.storing import SQL

# Rows of a transaction: some tens of milliseconds.
ROWS_A_STEP = 5_000
_STEPS = (SQL["purge_points"], SQL["purge_seconds"], SQL["purge_minutes"], SQL["purge_hours"])


async def purge_telemetry(run: JobRun, twin_id: UUID) -> None:
    """Remove all that a twin had measured; may be done again. Raises JobLost where the job is another's."""
    for step in _STEPS:
        while await _removed(run, step, twin_id) >= ROWS_A_STEP:
            pass


async def _removed(run: JobRun, query: str, twin_id: UUID) -> int:
    async with run.transaction() as db:
        return int((await db.execute(query, twin_id, ROWS_A_STEP)).rpartition(" ")[2])
