"""The newest points of a twin, for who joins the room of its telemetry (rooms/beginnings.py)."""

from typing import Any
from uuid import UUID

import orjson

from core.auth.caller import Caller
from core.clock import Clock, rfc3339
from core.errors import HubError
from core.events.event import SOURCE
from core.ids import new_id
from core.store.database import Database
from core.store.statements import Statements
from handlers.twins.telemetry.storing import SQL
from handlers.twins.telemetry.telling import TYPE, shown
from rooms.beginnings import Beginning
from rooms.live_rules import TELEMETRY
from rooms.names import parse_channel


class TelemetrySnapshots:
    """Implements rooms.beginnings.Beginnings. What is told after a look may stand in what was found: newest values come twice."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def covers(self, namespace: str) -> bool:
        """Tell whether a namespace is that of telemetry."""
        return namespace == TELEMETRY

    async def find(self, caller: Caller, channel: str) -> Beginning:
        """Return the newest points; raises HubError CHANNEL_NOT_FOUND where there is no such twin for this caller."""
        twin_id = parse_channel(channel).resource_id
        if twin_id is None or not caller.may_touch(twin_id):
            raise HubError("CHANNEL_NOT_FOUND")
        async with self._database.read(caller.org_id) as db:
            metrics = await newest(db, twin_id)
        if metrics is None:
            raise HubError("CHANNEL_NOT_FOUND")
        return Beginning(self._envelope(channel, metrics) if metrics else None)

    def _envelope(self, channel: str, metrics: dict[str, Any]) -> str:
        event = {
            "id": str(new_id()),
            "type": TYPE,
            "source": SOURCE,
            "subject": channel.replace(":", "/", 1),
            "time": rfc3339(self._clock.now()),
            "data": {"metrics": metrics},
        }
        return orjson.dumps(event).decode()


async def newest(db: Statements, twin_id: UUID) -> dict[str, Any] | None:
    """Return the newest point of each metric, as it is told; None where there is no such twin."""
    rows = await db.fetch(SQL["latest"], twin_id)
    if not rows:
        return None
    return {row["metric"]: shown(row["value"], row["time"]) for row in rows if row["metric"] is not None}
