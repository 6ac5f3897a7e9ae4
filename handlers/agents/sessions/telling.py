"""Telling the watchers of a session what was said and changed, in its room, after the commit.

What is true stands in PostgreSQL: where Redis does not answer, nobody is told, and the next look finds it.
"""

from functools import partial
from typing import Any, Protocol
from uuid import UUID

import structlog

from core.errors import HubError
from core.events.event import SOURCE
from core.operations.context import Context
from core.operations.results import Document
from rooms.live import Published
from rooms.tasks import Tasks

# As of events of the log: what is longer is read by who wants it.
_MOST_BYTES = 32 * 1024


class Rooms(Protocol):
    """Publishes into live rooms, as LiveRooms does."""

    async def publish(self, org_id: UUID, channel: str, type: str, data: bytes, *, source: str) -> Published:
        """Publish an event."""
        ...


class Telling:
    """One of a node. `close()` before what the rooms need is closed."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._tasks = Tasks()

    def updated(self, ctx: Context, session: Document) -> None:
        """Tell of a session as it is now, once the transaction is committed."""
        data = b'{"session":%b}' % session.body.encode()
        if len(data) > _MOST_BYTES:
            data = b'{"session":{"id":"%b","version":%d,"truncated":true}}' % (
                str(session.id).encode(),
                session.version,
            )
        self._tell(ctx, session.id, "session.updated", data)

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

    def _tell(self, ctx: Context, session_id: UUID, type: str, data: bytes) -> None:
        org_id = ctx.caller.org_id
        ctx.after_commit(lambda: self._spawn(partial(self._publish, org_id, session_id, type, data)))

    def _spawn(self, publish: Any) -> None:
        self._tasks.spawn(publish())

    async def _publish(self, org_id: UUID, session_id: UUID, type: str, data: bytes) -> None:
        try:
            await self._rooms.publish(org_id, f"sessions:{session_id}", type, data, source=SOURCE)
        except HubError as error:
            structlog.get_logger().warning("session_not_told", type=type, error=error.code)
