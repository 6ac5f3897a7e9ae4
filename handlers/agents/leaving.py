"""What a deleted agent or session leaves behind goes: asked for here, in the deletion's transaction, done by jobs (purging.py)."""

from datetime import timedelta
from uuid import UUID

from core.jobs.jobs import Jobs
from core.operations.context import Context
from core.store.statements import Statements

# Ends what runs; then, a little later, removes the rows.
CLOSE = "agents.close"
PURGE = "agents.purge"
# The same rows of one session, whose messages went with it.
FORGET = "sessions.purge"
KEPT_SECONDS = 60.0


class Leaving:
    """Sees to agents and sessions that are deleted."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    async def gone(self, ctx: Context, agent_id: UUID) -> None:
        """Have all ended and removed that a deleted agent had."""
        await close(ctx.db, self._jobs, ctx.caller.org_id, agent_id)
        ctx.after_commit(self._jobs.poke)

    async def session_gone(self, ctx: Context, session_id: UUID) -> None:
        """Have the executions removed that were of a deleted session; none of them is at work any more."""
        id, due = str(session_id), ctx.now + timedelta(seconds=KEPT_SECONDS)
        await self._jobs.enqueue(ctx.db, ctx.caller.org_id, FORGET, {"session_id": id}, key=id, run_at=due)


async def close(db: Statements, jobs: Jobs, org_id: UUID, agent_id: UUID) -> None:
    """Make the job, in the transaction of `db`; one that works already sees what this transaction writes."""
    id = str(agent_id)
    await jobs.enqueue(db, org_id, CLOSE, {"agent_id": id}, key=id, holds=True)
