"""What rooms hear of points: the newest of each metric. What comes while one word is under way goes together in the next one."""

from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from typing import Protocol
from uuid import UUID

import orjson
import structlog

from core.clock import rfc3339
from core.errors import HubError
from core.events.event import SOURCE
from handlers.twins.telemetry.storing import Measured
from rooms.live import Published
from rooms.tasks import Tasks

TYPE = "twin.telemetry"
# Of one event: some 25 KiB.
METRICS_AT_ONCE = 200
# Rooms that are told together.
ROOMS_AT_ONCE = 256


class Rooms(Protocol):
    """Live rooms (rooms.live.LiveRooms)."""

    async def publish(self, org_id: UUID, channel: str, type: str, data: bytes, *, source: str) -> Published:
        """Publish an event; raises HubError SERVICE_UNAVAILABLE where that is not possible."""
        ...


def channel_of(twin_id: UUID) -> str:
    """Name the room of a twin's telemetry."""
    return f"twins:{twin_id}/telemetry"


class Telling:
    """One of a node. It holds the newest points of metrics that have not been told, so it does not grow while Redis is away."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._tasks = Tasks()
        self._waiting: dict[tuple[UUID, UUID], dict[str, Measured]] = {}
        self._is_telling = False

    def note(self, org_id: UUID, points: Sequence[Measured]) -> None:
        """Tell of points that are stored, as soon as what is under way has been said."""
        for point in points:
            newest = self._waiting.setdefault((org_id, point.twin_id), {})
            before = newest.get(point.metric)
            if before is None or before.time <= point.time:
                newest[point.metric] = point
        if not self._is_telling:
            self._is_telling = True
            self._tasks.spawn(self._tell())

    async def close(self) -> None:
        """End what is being told."""
        await self._tasks.close()

    async def _tell(self) -> None:
        try:
            while self._waiting:
                rooms = list(islice(self._waiting, ROOMS_AT_ONCE))
                await self._publish([(*room, list(self._waiting.pop(room).values())) for room in rooms])
        finally:
            self._is_telling = False

    async def _publish(self, news: Sequence[tuple[UUID, UUID, Sequence[Measured]]]) -> None:
        said = [
            self._tasks.spawn(self._say(org_id, twin_id, points[at : at + METRICS_AT_ONCE]))
            for org_id, twin_id, points in news
            for at in range(0, len(points), METRICS_AT_ONCE)
        ]
        for each in said:
            await each

    async def _say(self, org_id: UUID, twin_id: UUID, points: Sequence[Measured]) -> None:
        data = orjson.dumps({"metrics": {point.metric: shown(point.value, point.time) for point in points}})
        try:
            await self._rooms.publish(org_id, channel_of(twin_id), TYPE, data, source=SOURCE)
        except HubError as refused:
            # The points are stored: who reads gets the next ones, and who joins all.
            structlog.get_logger().warning("telemetry_not_told", twin=str(twin_id), code=refused.code)


def shown(value: float, time: datetime) -> dict[str, object]:
    """Return a metric's newest point as it is told."""
    return {"value": value, "time": rfc3339(time)}
