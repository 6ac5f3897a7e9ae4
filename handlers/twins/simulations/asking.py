"""Simulations for who has no operation's context, such as a tool of an agent: begun once by a key, and waited for."""

from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from core.clock import Clock
from core.jobs.jobs import Jobs
from core.store.database import Database
from handlers.lasting.told import emit
from handlers.twins.simulation.scenarios import built
from handlers.twins.simulations import ending
from handlers.twins.simulations.beginning import New, insert, no_twin
from handlers.twins.simulations.models import ENDED, Wanted
from handlers.twins.simulations.store import SQL

# How long it takes to see that one has ended: short ones are seen soon.
FIRST_LOOK_SECONDS, MOST_LOOK_SECONDS = 0.05, 1.0


class Asking:
    """Begins simulations, and waits for them. It hears no rooms: a process that only does jobs has none."""

    def __init__(self, database: Database, jobs: Jobs, clock: Clock) -> None:
        self._database = database
        self._jobs = jobs
        self._clock = clock

    async def begin(
        self, org_id: UUID, twin_id: UUID, wanted: Wanted, *, by: str, key: str, deadline: datetime
    ) -> UUID:
        """Begin a simulation of a twin as it is, or return that which was begun by `key`.

        Raises HubError: RESOURCE_NOT_FOUND, VALIDATION_ERROR, and where PostgreSQL does not answer.
        """
        async with self._database.transaction(org_id) as db:
            before = await db.fetchrow(SQL["of_key"], key)
            if before is not None:
                return before["id"]
            twin = await db.fetchrow(SQL["twin"], twin_id)
            if twin is None:
                no_twin()
            plan = built(orjson.loads(twin["document"]), wanted.scenario, wanted.parameters, horizon=wanted.horizon)
            now = self._clock.now()
            new = New(twin_id, twin["version"], plan, wanted, by, now, deadline, key=key)
            made = await insert(db, self._jobs, org_id, new)
        self._jobs.poke()
        return made["id"]

    async def ended(self, org_id: UUID, id: UUID) -> Any:
        """Return a simulation's row once it has ended, None where it is gone. It has a deadline, so this ends."""
        wait = FIRST_LOOK_SECONDS
        while True:
            async with self._database.read(org_id) as db:
                row = await db.fetchrow(SQL["find"], id)
            if row is None or row["status"] in ENDED:
                return row
            await self._clock.sleep(wait)
            wait = min(1.5 * wait, MOST_LOOK_SECONDS)

    async def cancel(self, org_id: UUID, id: UUID) -> None:
        """End it as cancelled, where it has not ended."""
        now = self._clock.now()
        async with self._database.transaction(org_id) as db:
            ended = await ending.cancel(db, self._jobs, org_id, id, now)
            if ended is not None:
                await emit(db, org_id, [ended.told], now)
        self._jobs.poke()
