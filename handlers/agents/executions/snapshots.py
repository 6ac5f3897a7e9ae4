"""What was said so far in the rooms of executions and sessions, for who joins in the middle (rooms/beginnings.py)."""

from typing import Any, NoReturn
from uuid import UUID

import orjson

from core.auth.caller import Caller
from core.clock import Clock, rfc3339
from core.errors import HubError
from core.events.event import SOURCE
from core.ids import new_id, parse_id
from core.store.database import Database
from handlers.agents.executions.announcing import shown_text
from handlers.agents.executions.ending import announcement
from handlers.agents.executions.models import ENDED
from handlers.agents.executions.store import SQL
from rooms.beginnings import UNKNOWN, Beginning
from rooms.recovery import Bookmark

_NAMESPACES = frozenset({"runs", "sessions"})


class Snapshots:
    """Implements rooms.beginnings.Beginnings."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def covers(self, namespace: str) -> bool:
        """Tell whether a namespace is of runs or of sessions."""
        return namespace in _NAMESPACES

    async def find(self, caller: Caller, channel: str) -> Beginning:
        """Return what was said so far in a room; raises HubError CHANNEL_NOT_FOUND where there is none for this caller."""
        namespace, _, name = channel.partition(":")
        id = parse_id(name)
        if id is None:
            _missing()
        row = await self._of_run(caller, id) if namespace == "runs" else await self._of_session(caller, id)
        if row is None:
            return Beginning(None)
        return Beginning(self._envelope(channel, row), _mark(row, channel))

    async def _of_run(self, caller: Caller, id: UUID) -> Any:
        async with self._database.read(caller.org_id) as db:
            row = await db.fetchrow(SQL["find"], id)
        if row is None or not caller.may_touch(row["agent_id"]):
            _missing()
        return row

    async def _of_session(self, caller: Caller, id: UUID) -> Any:
        """Return the execution that writes in a session, None where none does."""
        async with self._database.read(caller.org_id) as db:
            session = await db.fetchrow(SQL["session"], id)
            if session is None or not caller.may_touch(session["agent_id"]):
                _missing()
            if session["active_id"] is None:
                return None
            return await db.fetchrow(SQL["find"], session["active_id"])

    def _envelope(self, channel: str, row: Any) -> str:
        event = {
            "id": str(new_id()),
            "type": "run.snapshot",
            "source": SOURCE,
            "subject": channel.replace(":", "/", 1),
            "time": rfc3339(self._clock.now()),
            "data": snapshot(row),
        }
        return orjson.dumps(event).decode()


def snapshot(row: Any) -> dict[str, Any]:
    """Return what a snapshot of an execution says; of one that has ended also what its end said."""
    head = {"execution_id": str(row["id"]), "attempt": row["attempt"]}
    end = announcement(row) if row["status"] in ENDED else {}
    return {**head, **shown_text(row), **end}


def _mark(row: Any, channel: str) -> Bookmark:
    # Of what has ended all is said: what its room had beyond the text that is kept is void.
    if row["status"] in ENDED:
        return Bookmark()
    place = None if row["places"] is None else orjson.loads(row["places"]).get(channel)
    if place is None:
        # Its worker has just taken it up, or Redis or PostgreSQL was away: more may have been said than is kept.
        return UNKNOWN if row["status"] == "running" else Bookmark()
    return Bookmark(place[0], place[1])


def _missing() -> NoReturn:
    raise HubError("CHANNEL_NOT_FOUND")
