"""Telling the rooms of an execution that it has ended, or waits for its caller: whoever wrote that may have died before it could.

The transaction that ends a run leaves it unannounced; each node that does jobs looks for such, at once where it has written one
itself. Several may tell the same: the fence lets the first through.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
import structlog

from core.clock import Clock
from core.deadline import ended_within
from core.errors import HubError
from core.events.event import SOURCE
from core.store.database import Database
from handlers.agents.executions.ending import announcement
from handlers.agents.executions.store import SQL
from handlers.agents.executions.telling import Rooms, number_of, rooms_of
from rooms.fence import Fence, Outrun
from rooms.live_rules import LIVE

LOOK_SECONDS = 1.0
AT_ONCE = 100


class Announcer:
    """One of a process. `run()` beside everything else; `system` is a pool of hub_system."""

    def __init__(self, system: Database, rooms: Rooms, clock: Clock) -> None:
        self._system = system
        self._rooms = rooms
        self._clock = clock
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
            rows = await db.fetch(SQL["to_announce"], AT_ONCE)
        if not rows:
            return 0
        results = await asyncio.gather(*(self._tell(row) for row in rows))
        told = [row for row, is_told in zip(rows, results, strict=True) if is_told]
        if told:
            async with self._system.unbound() as db:
                ids, attempts = [row["id"] for row in told], [row["attempt"] for row in told]
                await db.execute(SQL["announced"], ids, attempts)
        return len(told)

    async def _wait(self) -> None:
        waking = asyncio.ensure_future(self._more.wait())
        try:
            await ended_within(self._clock, LOOK_SECONDS, waking)
        finally:
            waking.cancel()

    async def _tell(self, row: Any) -> bool:
        """Tell one in all its rooms; False where Redis does not answer."""
        results = await asyncio.gather(*(self._tell_in(row, channel) for channel in rooms_of(row)))
        return all(results)

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

    async def _publish(self, row: Any, channel: str, type: str, forms: Sequence[bytes], fence: Fence) -> bool:
        """Publish the first form that is not too much; False where Redis does not answer."""
        for data in forms:
            if len(data) > LIVE[channel.partition(":")[0]].message_bytes:
                continue
            try:
                await self._rooms.publish(row["org_id"], channel, type, data, source=SOURCE, fence=fence)
            except Outrun:
                return True  # it was told already, or the run has gone on
            except HubError:
                return False
            return True
        return True


def shown_text(row: Any) -> dict[str, Any]:
    """Return what a snapshot says of an execution: its text, up to where, and how it stands."""
    action = None if row["action"] is None else orjson.Fragment(row["action"])
    return {"sequence": row["sequence"], "text": row["text"], "status": row["status"], "action": action}


def _forms_of(row: Any) -> Sequence[bytes]:
    """Return what is told, and the same without what can be asked for, where it is too much for a room."""
    said = announcement(row)
    whole = orjson.dumps(said)
    short = {name: value for name, value in said.items() if name not in ("citations", "action")}
    return whole, orjson.dumps({**short, "truncated": True})
