"""Executions that nobody works on any more are brought to an end, with those that they have delegated to."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from core.clock import Clock
from core.jobs.jobs import Jobs
from core.store.database import Database
from core.store.statements import Statements
from handlers.agents.executions.ending import KIND, cancel_delegates, end
from handlers.agents.executions.models import ENDED
from handlers.agents.executions.store import SQL
from handlers.lasting.tending import Due, Tender
from handlers.lasting.told import emit


class ExecutionTender(Tender):
    """One of a process that does jobs; `after` is called when something was ended."""

    def __init__(self, app: Database, system: Database, jobs: Jobs, clock: Clock, *, after: Callable[[], None]) -> None:
        super().__init__(app, system, jobs, clock, kind=KIND, late=SQL["late"], left=SQL["left"], after=after)

    async def _end_one(self, db: Statements, found: Any, name: Due, error: tuple[str, str]) -> int:
        now = self._clock.now()
        held = await db.fetchrow(SQL["hold"], found["id"])
        if held is None or held["status"] in ENDED or not await _is_due(db, held, name, now):
            return 0
        over = [await end(db, self._jobs, held, "failed", now, error=error, from_outside=True)]
        over += await cancel_delegates(db, self._jobs, found["org_id"], found["id"], now)
        await emit(db, found["org_id"], [each.told for each in over], now)
        return len(over)


async def _is_due(db: Statements, held: Any, name: Due, now: datetime) -> bool:
    """Tell whether a row is still what it was found for, now that it is held."""
    if name == "late":
        return held["deadline_at"] <= now
    return held["status"] in ("queued", "running") and await db.fetchval(SQL["is_left"], held["id"])
