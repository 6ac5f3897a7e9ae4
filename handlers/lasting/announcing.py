"""Telling rooms that something has come to its end: whoever wrote that may have died before it could.

The transaction that ends it leaves its row unannounced; each node that does jobs looks for such rows, at once where it has written
one itself. Several may tell the same: the room's fence lets the first through.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol
from uuid import UUID

import orjson
import structlog

from core.clock import Clock
from core.deadline import ended_within
from core.errors import HubError
from core.events.event import SOURCE
from core.store.database import Database
from rooms.fence import Fence, Outrun
from rooms.live import Published
from rooms.live_rules import LIVE

LOOK_SECONDS = 1.0
AT_ONCE = 100


class Rooms(Protocol):
    """Publishes into live rooms, as LiveRooms does."""

    async def publish(
        self, org_id: UUID, channel: str, type: str, data: bytes, *, source: str, fence: Fence | None = None
    ) -> Published:
        """Publish an event. Raises HubError, Outrun, RoomLost."""
        ...


class Announcer(ABC):
    """One of a process and a kind. `run()` beside everything else; `system` is a pool of hub_system.

    `waiting` ($1: how many) finds rows with `id`, `org_id` and `attempt` that are to be told; `told` ($1: ids, $2: attempts) notes
    that they were.
    """

    def __init__(self, system: Database, rooms: Rooms, clock: Clock, *, waiting: str, told: str) -> None:
        self._system = system
        self._rooms = rooms
        self._clock = clock
        self._waiting = waiting
        self._told = told
        self._more = asyncio.Event()

    def wake(self) -> None:
        """Look soon: something was committed that is to be told."""
        self._more.set()

    async def run(self) -> None:
        """Tell what is to be told, until cancelled; while PostgreSQL or Redis is away it waits."""
        while True:
            self._more.clear()
            try:
                told = await self.tell()
            except HubError as error:
                structlog.get_logger().warning("ends_not_told", error=error.code)
                told = 0
            if told < AT_ONCE:
                await self._wait()

    async def tell(self) -> int:
        """Tell what waits, at most AT_ONCE; returns how many of it was told. Raises HubError while PostgreSQL is away."""
        async with self._system.unbound() as db:
            rows = await db.fetch(self._waiting, AT_ONCE)
        if not rows:
            return 0
        results = await asyncio.gather(*(self._tell(row) for row in rows))
        told = [row for row, is_told in zip(rows, results, strict=True) if is_told]
        if told:
            async with self._system.unbound() as db:
                ids, attempts = [row["id"] for row in told], [row["attempt"] for row in told]
                await db.execute(self._told, ids, attempts)
        return len(told)

    @abstractmethod
    async def _tell(self, row: Any) -> bool:
        """Tell one in all its rooms; False where Redis does not answer."""

    async def _publish(self, row: Any, channel: str, type: str, forms: Sequence[bytes], fence: Fence) -> bool:
        """Publish the first form that is not too much; False where Redis does not answer."""
        for data in forms:
            if len(data) > LIVE[channel.partition(":")[0]].message_bytes:
                continue
            try:
                await self._rooms.publish(row["org_id"], channel, type, data, source=SOURCE, fence=fence)
            except Outrun:
                return True  # it was told already, or the work has gone on
            except HubError:
                return False
            return True
        return True

    async def _wait(self) -> None:
        waking = asyncio.ensure_future(self._more.wait())
        try:
            await ended_within(self._clock, LOOK_SECONDS, waking)
        finally:
            waking.cancel()


def number_of(attempt: int, *, is_end: bool = False) -> int:
    """Return the number of an attempt under its work's fence: what ends or pauses it comes after all else, once."""
    return 2 * attempt + is_end


def first_that_fits(said: dict[str, Any], short: dict[str, Any]) -> Sequence[bytes]:
    """Return the forms of an announcement: whole, and where that is too much for a room, short."""
    return orjson.dumps(said), orjson.dumps({**short, "truncated": True})
