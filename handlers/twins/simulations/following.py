"""Waiting for a simulation, and reading how far it is, inside a request: its room tells; what nobody told, PostgreSQL is asked."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from core.auth.caller import Caller
from core.clock import Clock
from core.errors import HubError
from core.operations.results import Item
from core.store.database import Database
from handlers.lasting.hearing import LOOK_SECONDS, Openings, heard
from handlers.twins.simulations.announcing import room_of, snapshot
from handlers.twins.simulations.models import ENDED
from handlers.twins.simulations.store import SQL, missing

_ENDS = frozenset(f"simulation.{status}" for status in ENDED)


@dataclass(slots=True)
class _Seen:
    """How far a reader is: what is not further is no news."""

    attempt: int = -1
    done: int = -1

    def takes(self, data: Mapping[str, Any]) -> bool:
        """Tell whether this is news, and count it."""
        told = (data["attempt"], data["done"])
        if told <= (self.attempt, self.done):
            return False
        self.attempt, self.done = told
        return True


class Watching:
    """Follows simulations for requests of this node."""

    def __init__(self, database: Database, openings: Openings, clock: Clock) -> None:
        self._database = database
        self._openings = openings
        self._clock = clock

    async def wait(self, caller: Caller, id: UUID, seconds: float) -> Any:
        """Return the simulation's row, whole, once it has ended, at the latest after `seconds`."""
        row = await self._row(caller, id)
        if row["status"] in ENDED or seconds <= 0:
            return row
        until = self._clock.monotonic() + seconds
        look = min(LOOK_SECONDS, seconds)
        async with heard(self._openings, self._clock, caller, room_of(id), look) as told:
            while row["status"] not in ENDED and self._clock.monotonic() < until:
                event = await told.get()
                if event is None or event[1].get("status") in ENDED:
                    row = await self._row(caller, id)
        return row

    async def parts(self, caller: Caller, id: UUID) -> AsyncGenerator[Item]:
        """Yield how far it is, what follows, and its end."""
        seen = _Seen()
        async with heard(self._openings, self._clock, caller, room_of(id)) as told:
            while True:
                type, data = await told.get() or await self._now(caller, id)
                if data["status"] in ENDED:
                    yield Item(type if type in _ENDS else f"simulation.{data['status']}", orjson.dumps(data).decode())
                    return
                if seen.takes(data):
                    yield Item(type, orjson.dumps(data).decode())

    async def _now(self, caller: Caller, id: UUID) -> tuple[str, Any]:
        """Return how far it is; while PostgreSQL is away, that nothing is new."""
        try:
            return "simulation.snapshot", snapshot(await self._row(caller, id))
        except HubError as error:
            if error.code == "RESOURCE_NOT_FOUND":
                raise
            return "simulation.snapshot", {"status": "running", "attempt": -1, "done": -1}

    async def _row(self, caller: Caller, id: UUID) -> Any:
        async with self._database.read(caller.org_id) as db:
            row = await db.fetchrow(SQL["whole"], id)
        if row is None:
            missing()
        return row
