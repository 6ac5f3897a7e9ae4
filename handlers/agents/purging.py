"""What a deleted agent or session leaves behind goes by jobs, some rows at a time.

agents.close   ends its executions as cancelled, and has the other made
agents.purge   removes executions, messages and sessions, a minute later: whoever waits for one of them has seen its end by then
sessions.purge removes the executions of one session, a minute after it was deleted
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from core.clock import Clock
from core.errors import HubError
from core.jobs.jobs import Jobs
from core.jobs.kind import JobKind, RetryPolicy
from core.jobs.run import JobRun
from core.store.queries import load_queries
from handlers.agents.executions.ending import cancel
from handlers.agents.leaving import CLOSE, FORGET, KEPT_SECONDS, PURGE
from handlers.lasting.told import emit

SQL = load_queries(Path(__file__).with_name("queries.sql"))
CONCURRENCY = 2
# Looked up at once; each is ended in a transaction of its own, with those that it has delegated to.
_OPEN_AT_ONCE = 100
# Of a transaction: some tens of milliseconds. Steps and messages have up to some hundred KiB each.
_EXECUTIONS = ((SQL["purge_steps"], 500), (SQL["purge_executions"], 500))
_OF_AGENT = (
    *((query.replace("{of}", "agent_id"), most) for query, most in _EXECUTIONS),
    (SQL["purge_messages"], 500),
    (SQL["purge_sessions"], 500),
)
_OF_SESSION = tuple((query.replace("{of}", "session_id"), most) for query, most in _EXECUTIONS)
# While Redis is away ends are not told, and their rows stay: a week and more.
_RETRY = RetryPolicy(attempts=1_100, first_seconds=1.0, factor=2.0, most_seconds=600.0)


class Purging:
    """The kinds of jobs. `after` is called when executions were ended; rows are kept for `kept` seconds after that."""

    def __init__(self, jobs: Jobs, clock: Clock, after: Callable[[], None], *, kept: float = KEPT_SECONDS) -> None:
        self._jobs = jobs
        self._clock = clock
        self._after = after
        self._kept = timedelta(seconds=kept)

    @property
    def kinds(self) -> list[JobKind]:
        """The kinds."""
        return [
            JobKind(CLOSE, self._close, _RETRY, concurrency=CONCURRENCY),
            JobKind(PURGE, _purge, _RETRY, concurrency=CONCURRENCY),
            JobKind(FORGET, _forget, _RETRY, concurrency=CONCURRENCY),
        ]

    async def _close(self, run: JobRun) -> None:
        id = run.payload["agent_id"]
        while await self._ended(run, UUID(id)):
            pass
        async with run.finishing() as db:
            due = self._clock.now() + self._kept
            await self._jobs.enqueue(db, run.org_id, PURGE, {"agent_id": id}, key=id, run_at=due, holds=True)
        self._jobs.poke()

    async def _ended(self, run: JobRun, agent_id: UUID) -> bool:
        """End some of the executions that are open; False where there are none."""
        async with run.transaction() as db:
            rows = await db.fetch(SQL["open"], agent_id, _OPEN_AT_ONCE)
        for row in rows:
            await self._end(run, row["org_id"], row["id"])
        return bool(rows)

    async def _end(self, run: JobRun, org_id: UUID, id: UUID) -> None:
        now = self._clock.now()
        async with run.transaction() as db:
            ended = await cancel(db, self._jobs, org_id, id, now)
            await emit(db, org_id, [each.told for each in ended], now)
        self._jobs.poke()
        self._after()


async def _purge(run: JobRun) -> None:
    await _remove(run, UUID(run.payload["agent_id"]), _OF_AGENT, SQL["left"])


async def _forget(run: JobRun) -> None:
    await _remove(run, UUID(run.payload["session_id"]), _OF_SESSION, SQL["left_of_session"])


async def _remove(run: JobRun, id: UUID, steps: Sequence[tuple[str, int]], left: str) -> None:
    for step, most in steps:
        while await _removed(run, step, id, most) >= most:
            pass
    async with run.finishing() as db:
        if await db.fetchval(left, id):
            raise HubError("SERVICE_UNAVAILABLE", "The rooms of some executions have not been told of their end yet")


async def _removed(run: JobRun, query: str, id: UUID, most: int) -> int:
    async with run.transaction() as db:
        return int((await db.execute(query, id, most)).rpartition(" ")[2])
