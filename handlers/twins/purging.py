"""What a deleted twin had is there for nobody from then on; its rows go by a job, some at a time."""

from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from core.jobs.jobs import Jobs
from core.jobs.kind import JobKind, RetryPolicy
from core.jobs.run import JobRun
from core.operations.context import Context

PURGE = "twins.purge"
CONCURRENCY = 2

# Removes one kind of what a twin had; may be done again, and raises JobLost where the job is another's.
Purge = Callable[[JobRun, UUID], Awaitable[None]]


class Purging:
    """Has what a twin had removed, in the transaction that deletes the twin."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    async def gone(self, ctx: Context, twin_id: UUID) -> None:
        """Make the job."""
        id = str(twin_id)
        await self._jobs.enqueue(ctx.db, ctx.caller.org_id, PURGE, {"twin_id": id}, key=id)
        ctx.after_commit(self._jobs.poke)


def purging(purges: Sequence[Purge]) -> JobKind:
    """Return the kind of the job, which does one of `purges` after the other."""

    async def purge(run: JobRun) -> None:
        twin_id = UUID(run.payload["twin_id"])
        for each in purges:
            await each(run, twin_id)

    return JobKind(PURGE, purge, RetryPolicy(attempts=20, most_seconds=60.0), concurrency=CONCURRENCY)
