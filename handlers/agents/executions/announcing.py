"""What the rooms of an execution are told when it has ended, or waits for its caller (handlers/lasting/announcing.py)."""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol
from uuid import UUID

import orjson

from core.clock import Clock
from core.store.database import Database
from handlers.agents.executions.ending import announcement
from handlers.agents.executions.models import ENDED
from handlers.agents.executions.store import SQL
from handlers.agents.executions.telling import rooms_of
from handlers.lasting.announcing import Announcer, Rooms, first_that_fits, number_of
from rooms.fence import Fence


class Sessions(Protocol):
    """Tells how sessions stand (handlers.agents.sessions.telling.Standing)."""

    async def tell(self, org_id: UUID, session_id: UUID) -> bool:
        """Tell how a session stands now; False where PostgreSQL or Redis does not answer."""
        ...


class ExecutionEnds(Announcer):
    """One of a process; `system` is a pool of hub_system. `sessions` are told of after the end: it changes them too."""

    def __init__(self, system: Database, rooms: Rooms, sessions: Sessions, clock: Clock) -> None:
        super().__init__(system, rooms, clock, waiting=SQL["to_announce"], told=SQL["announced"])
        self._sessions = sessions

    async def _tell(self, row: Any) -> bool:
        results = await asyncio.gather(*(self._tell_in(row, channel) for channel in rooms_of(row)))
        if not all(results):
            return False
        if row["session_id"] is None or row["status"] not in ENDED:
            return True
        return await self._sessions.tell(row["org_id"], row["session_id"])

    async def _tell_in(self, row: Any, channel: str) -> bool:
        key, attempt = str(row["id"]), row["attempt"]
        if row["places"] is None:
            # What readers have may be less than the text (Redis was away), or more (it was ended from outside).
            said = {"execution_id": key, "attempt": attempt, **shown_text(row)}
            if not await self._publish(
                row, channel, "run.snapshot", [orjson.dumps(said)], Fence(key, number_of(attempt))
            ):
                return False
        end = Fence(key, number_of(attempt, is_end=True), once=True)
        return await self._publish(row, channel, f"run.{row['status']}", _forms_of(row), end)


def shown_text(row: Any) -> dict[str, Any]:
    """Return what a snapshot says of an execution: its text, up to where, and how it stands."""
    action = None if row["action"] is None else orjson.Fragment(row["action"])
    return {"sequence": row["sequence"], "text": row["text"], "status": row["status"], "action": action}


def _forms_of(row: Any) -> Sequence[bytes]:
    """Return what is told, and the same without what can be asked for, where it is too much for a room."""
    said = announcement(row)
    less = {name: value for name, value in said.items() if name not in ("citations", "output", "notes", "action")}
    return first_that_fits(said, less)
