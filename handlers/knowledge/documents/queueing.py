"""Having documents read: one job for each base that has some that wait."""

from uuid import UUID

from core.jobs.jobs import Jobs
from core.operations.context import Context
from core.store.statements import Statements

INGEST = "knowledge.ingest"
PURGE = "knowledge.purge"


class Queue:
    """Makes the jobs, in the transaction of what they are for."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    async def ingest(self, ctx: Context, db: Statements, knowledge_id: UUID) -> None:
        """Have a job at hand that does not end before it has seen what this transaction writes.

        To be called before anything of the base is locked: the job takes its own row first too.
        """
        id = str(knowledge_id)
        await self._jobs.enqueue(db, ctx.caller.org_id, INGEST, {"knowledge_id": id}, key=id, holds=True)
        ctx.after_commit(self._jobs.poke)

    async def purge(self, ctx: Context, db: Statements, knowledge_id: UUID) -> None:
        """Have the documents of a base removed that is gone."""
        id = str(knowledge_id)
        await self._jobs.enqueue(db, ctx.caller.org_id, PURGE, {"knowledge_id": id}, key=id)
        ctx.after_commit(self._jobs.poke)
