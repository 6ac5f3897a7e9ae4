"""Simulations that nobody works on any more are brought to an end."""

from collections.abc import Callable
from typing import Any

from core.clock import Clock
from core.jobs.jobs import Jobs
from core.store.database import Database
from core.store.statements import Statements
from handlers.lasting.tending import Due, Tender
from handlers.lasting.told import emit
from handlers.twins.simulations.ending import KIND, end
from handlers.twins.simulations.models import ENDED
from handlers.twins.simulations.store import SQL


class SimulationTender(Tender):
    """One of a process that does jobs; `after` is called when something was ended."""

    def __init__(self, app: Database, system: Database, jobs: Jobs, clock: Clock, *, after: Callable[[], None]) -> None:
        super().__init__(app, system, jobs, clock, kind=KIND, late=SQL["late"], left=SQL["left"], after=after)

    async def _end_one(self, db: Statements, found: Any, name: Due, error: tuple[str, str]) -> int:
        now = self._clock.now()
        held = await db.fetchrow(SQL["hold"], found["id"])
        if held is None or held["status"] in ENDED:
            return 0
        is_due = held["deadline_at"] <= now if name == "late" else await db.fetchval(SQL["is_left"], held["id"])
        if not is_due:
            return 0
        over = await end(db, held, "failed", now, error=error, from_outside=True)
        await emit(db, found["org_id"], [over.told], now)
        return 1
