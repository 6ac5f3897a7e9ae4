"""What a deleted base had is found by nobody from then on; its rows go by a job, some at a time."""

from uuid import UUID

from core.jobs.kind import JobKind, RetryPolicy
from core.jobs.run import JobRun
from handlers.knowledge.documents.queueing import PURGE
from handlers.knowledge.documents.store import SQL

# Of a transaction: some tens of milliseconds. A document has up to ten versions, and their contents are many pages each.
_STEPS = (
    (SQL["purge_chunks"], 2000),
    (SQL["purge_documents"], 100),
    (SQL["purge_lexemes"], 5000),
    (SQL["purge_changes"], 500),
)
CONCURRENCY = 2


def purging() -> JobKind:
    """Return the kind of the job."""
    return JobKind(PURGE, _purge, RetryPolicy(attempts=20, most_seconds=60.0), concurrency=CONCURRENCY)


async def _purge(run: JobRun) -> None:
    knowledge_id = UUID(run.payload["knowledge_id"])
    for step, most in _STEPS:
        while await _removed(run, step, knowledge_id, most) >= most:
            pass
    async with run.finishing() as db:
        # What little came between the steps goes with it.
        await db.execute(SQL["purge_scope"], knowledge_id)


async def _removed(run: JobRun, query: str, knowledge_id: UUID, most: int) -> int:
    async with run.transaction() as db:
        return int((await db.execute(query, knowledge_id, most)).rpartition(" ")[2])
