"""What nobody works on any more is brought to an end: runs whose time is over, and those whose job has ended without them.

The rows are found for all organisations, and ended one by one as their own organisation would: whoever works on one is outrun.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import structlog

from core.clock import Clock
from core.errors import HubError
from core.jobs.jobs import Jobs
from core.store.database import Database
from core.store.statements import Statements
from handlers.agents.executions.ending import KIND, cancel_delegates, emit, end
from handlers.agents.executions.models import ENDED
from handlers.agents.executions.store import SQL

AT_ONCE = 100
LATE_SECONDS = 1.0
# Looking for those that nobody works on costs a look at each that is open.
LEFT_SECONDS = 10.0
_LATE = ("TIMEOUT", "It was not done by its deadline")
_LEFT = ("INTERNAL_ERROR", "It was given up: no attempt at it came to an end")


class Tender:
    """One of a process that does jobs. `run()` beside everything else; `after` is called when something was ended."""

    def __init__(self, app: Database, system: Database, jobs: Jobs, clock: Clock, *, after: Callable[[], None]) -> None:
        self._app = app
        self._system = system
        self._jobs = jobs
        self._clock = clock
        self._after = after

    async def run(self) -> None:
        """Look, until cancelled; while PostgreSQL is away it waits."""
        left_at = self._clock.monotonic() + LEFT_SECONDS
        while True:
            await self._clock.sleep(LATE_SECONDS)
            names = ["late"]
            if self._clock.monotonic() >= left_at:
                left_at = self._clock.monotonic() + LEFT_SECONDS
                names.append("left")
            try:
                for name in names:
                    await self.tend(name)
            except HubError as error:
                structlog.get_logger().warning("executions_not_tended", error=error.code)

    async def tend(self, name: str) -> int:
        """End what is `late`, or what is `left`; returns how many were. Raises HubError while PostgreSQL is away."""
        async with self._system.unbound() as db:
            rows = await db.fetch(SQL["late"] if name == "late" else SQL["left"], self._clock.now(), AT_ONCE)
        ended = 0
        for row in rows:
            ended += await self._end(row, name)
        if ended:
            self._after()
        return ended

    async def _end(self, found: Any, name: str) -> int:
        now = self._clock.now()
        error = _LATE if name == "late" else _LEFT
        key = str(found["id"])
        try:
            async with self._app.transaction(found["org_id"]) as db:
                if name == "late":
                    # The job's row comes before the execution's, as in a worker.
                    await self._jobs.cancel(db, found["org_id"], KIND, key)
                held = await db.fetchrow(SQL["hold"], found["id"])
                if held is None or held["status"] in ENDED or not await _is_due(db, held, name, now):
                    return 0
                over = [await end(db, self._jobs, held, "failed", now, error=error, from_outside=True)]
                over += await cancel_delegates(db, self._jobs, found["org_id"], found["id"], now)
                await emit(db, found["org_id"], [each.told for each in over], now)
        except HubError as refused:
            structlog.get_logger().warning("execution_not_ended", execution=key, error=refused.code)
            return 0
        return len(over)


async def _is_due(db: Statements, held: Any, name: str, now: datetime) -> bool:
    """Tell whether a row is still what it was found for, now that it is held."""
    if name == "late":
        return held["deadline_at"] <= now
    return held["status"] in ("queued", "running") and await db.fetchval(SQL["is_left"], held["id"])
