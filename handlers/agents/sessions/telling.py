"""Telling the watchers of a session what was said and changed, in its room, after the commit.

What is true stands in PostgreSQL: where Redis does not answer, nobody is told, and the next look finds it. How a session
stands is told in the order of its versions, each once, whoever tells it: the room drops what is older than what it was told.
"""

from functools import partial
from typing import Any, Protocol
from uuid import UUID

import structlog

from core.errors import HubError
from core.events.event import SOURCE
from core.operations.context import Context
from core.operations.results import Document
from core.store.database import Database
from handlers.agents.sessions import store
from handlers.agents.sessions.store import SQL
from rooms.fence import Fence, Outrun
from rooms.live import Published
from rooms.tasks import Tasks

# As of events of the log: what is longer is read by who wants it.
_MOST_BYTES = 32 * 1024
_UPDATED = "session.updated"


class Rooms(Protocol):
    """Publishes into live rooms, as LiveRooms does."""

    async def publish(
        self, org_id: UUID, channel: str, type: str, data: bytes, *, source: str, fence: Fence | None = None
    ) -> Published:
        """Publish an event. Raises HubError, Outrun."""
        ...


class Telling:
    """One of a node. `close()` before what the rooms need is closed."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._tasks = Tasks()

    def updated(self, ctx: Context, session: Document) -> None:
        """Tell of a session as it is now, once the transaction is committed."""
        self._tell(ctx, session.id, _UPDATED, _told_of(session), _fence_of(session))

    def said(self, ctx: Context, session_id: UUID, message_id: UUID, message: str) -> None:
        """Tell of a message (JSON as clients see it), once the transaction is committed; of a long one by its id."""
        data = b'{"message":%b}' % message.encode()
        if len(data) > _MOST_BYTES:
            data = b'{"message":{"id":"%b","session_id":"%b","truncated":true}}' % (
                str(message_id).encode(),
                str(session_id).encode(),
            )
        self._tell(ctx, session_id, "session.message", data)

    async def close(self) -> None:
        """End what is under way."""
        await self._tasks.close()

    def _tell(self, ctx: Context, session_id: UUID, type: str, data: bytes, fence: Fence | None = None) -> None:
        org_id = ctx.caller.org_id
        ctx.after_commit(lambda: self._spawn(partial(self._publish, org_id, session_id, type, data, fence)))

    def _spawn(self, publish: Any) -> None:
        self._tasks.spawn(publish())

    async def _publish(self, org_id: UUID, session_id: UUID, type: str, data: bytes, fence: Fence | None) -> None:
        try:
            await self._rooms.publish(org_id, _room_of(session_id), type, data, source=SOURCE, fence=fence)
        except Outrun:
            pass  # a newer state was told already
        except HubError as error:
            structlog.get_logger().warning("session_not_told", type=type, error=error.code)


class Standing:
    """Tells how sessions stand once a run of theirs has ended, whoever ended it."""

    def __init__(self, database: Database, rooms: Rooms) -> None:
        self._database = database
        self._rooms = rooms

    async def tell(self, org_id: UUID, session_id: UUID) -> bool:
        """Tell how a session stands now, if it is there; False where PostgreSQL or Redis does not answer."""
        try:
            async with self._database.read(org_id) as db:
                row = await db.fetchrow(SQL["find"], session_id)
            if row is not None:
                session = store.document(row)
                said = (_UPDATED, _told_of(session))
                await self._rooms.publish(org_id, _room_of(session_id), *said, source=SOURCE, fence=_fence_of(session))
        except Outrun:
            pass  # it was told already
        except HubError:
            return False
        return True


def _room_of(session_id: UUID) -> str:
    return f"sessions:{session_id}"


def _told_of(session: Document) -> bytes:
    data = b'{"session":%b}' % session.body.encode()
    if len(data) <= _MOST_BYTES:
        return data
    return b'{"session":{"id":"%b","version":%d,"truncated":true}}' % (str(session.id).encode(), session.version)


def _fence_of(session: Document) -> Fence:
    # Rooms forget the smallest keys first, and those of the session's runs are ids: they begin with a digit, or a to f.
    return Fence(f"session:{session.id}", session.version, once=True)
