"""Waiting for an execution, and reading what it writes, inside a request: its room tells; what nobody told, PostgreSQL is asked.

While Redis is away nothing is heard: then a reader gets the whole text each second, as it was saved.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from math import inf
from typing import Any, Protocol
from uuid import UUID

import orjson

from core.auth.caller import Caller
from core.clock import Clock
from core.deadline import end_tasks
from core.errors import HubError
from core.operations.results import Item
from core.store.database import Database
from handlers.agents.executions.ending import announcement
from handlers.agents.executions.models import ENDED
from handlers.agents.executions.snapshots import snapshot
from handlers.agents.executions.store import SQL
from rooms.live_following import Following, RoomReset

# After so long without a word PostgreSQL is asked.
LOOK_SECONDS = 1.0
RETRY_SECONDS = 0.25
# Events that a reader may lag behind before the room waits for it, in memory of the node.
MOST_WAITING = 64
_WHOLE = frozenset({"run.snapshot", "run.restarted", "run.resumed"})
_ENDS = frozenset(f"run.{status}" for status in ENDED)
_SETTLED = frozenset({*ENDED, "requires_action"})


class Openings(Protocol):
    """Reads rooms from where they stand (rooms.openings.Openings)."""

    def following(self, caller: Caller, channel: str) -> AbstractAsyncContextManager[tuple[str | None, Following]]:
        """Give what was said so far, and what follows."""
        ...


@dataclass(slots=True)
class _Told:
    """How far a reader is; the rule is that of docs/protocol.md."""

    attempt: int = -1
    sequence: int = -1

    def takes(self, type: str, data: Mapping[str, Any]) -> bool:
        """Tell whether an event is news to the reader, and count it."""
        attempt, sequence = data.get("attempt", 0), data.get("sequence", self.sequence)
        if attempt < self.attempt:
            return False
        if type in _WHOLE:
            if (attempt, sequence) < (self.attempt, self.sequence):
                return False
        elif type == "run.delta" and (attempt != self.attempt or sequence != self.sequence + 1):
            return False
        self.attempt, self.sequence = attempt, sequence
        return True

    def lacks(self, row: Any) -> bool:
        """Tell whether an execution has more than the reader was told."""
        return (row["attempt"], row["sequence"]) > (self.attempt, self.sequence)


class Executing:
    """Follows executions for requests of this node."""

    def __init__(self, database: Database, openings: Openings, clock: Clock) -> None:
        self._database = database
        self._openings = openings
        self._clock = clock

    async def wait(self, caller: Caller, id: UUID, seconds: float) -> Any:
        """Return the execution's row once it has ended or waits for its caller, at the latest after `seconds`."""
        row = await self._row(caller, id)
        if row["status"] in _SETTLED or seconds <= 0:
            return row
        heard: asyncio.Queue[tuple[str, Any] | None] = asyncio.Queue(MOST_WAITING)
        until = self._clock.monotonic() + seconds
        tasks = self._begin(caller, id, heard, min(LOOK_SECONDS, seconds))
        try:
            while row["status"] not in _SETTLED and self._clock.monotonic() < until:
                event = await heard.get()
                if event is None or _settles(*event):
                    row = await self._row(caller, id)
        finally:
            await end_tasks(tasks)
        return row

    async def parts(self, caller: Caller, id: UUID) -> AsyncGenerator[Item]:
        """Yield what was said so far, and what follows, to the end."""
        heard: asyncio.Queue[tuple[str, Any] | None] = asyncio.Queue(MOST_WAITING)
        told = _Told()
        tasks = self._begin(caller, id, heard, LOOK_SECONDS)
        last = self._clock.monotonic()
        try:
            while True:
                event = await heard.get()
                if event is not None:
                    last, (type, data) = self._clock.monotonic(), event
                    for item in await self._missed(caller, id, told, type, data):
                        yield item
                    if not told.takes(type, data):
                        continue
                    yield Item(type, orjson.dumps(data).decode())
                    if type == "run.snapshot" and data["status"] in ENDED:
                        yield _end_of(data)
                        return
                    if type in _ENDS:
                        return
                    continue
                row = await self._found(caller, id, last)
                if row is None:
                    continue
                if told.lacks(row) or row["status"] in ENDED:
                    said = snapshot(row)
                    told.takes("run.snapshot", said)
                    yield Item("run.snapshot", orjson.dumps(said).decode())
                if row["status"] in ENDED:
                    yield Item(f"run.{row['status']}", orjson.dumps(announcement(row)).decode())
                    return
        finally:
            await end_tasks(tasks)

    def _begin(
        self, caller: Caller, id: UUID, heard: asyncio.Queue[tuple[str, Any] | None], seconds: float
    ) -> list[asyncio.Task[None]]:
        return [
            asyncio.create_task(self._hear(caller, id, heard), name="execution heard"),
            asyncio.create_task(self._tick(heard, seconds), name="execution looked at"),
        ]

    async def _hear(self, caller: Caller, id: UUID, heard: asyncio.Queue[tuple[str, Any] | None]) -> None:
        """Put in what the room tells; begin anew where it was lost."""
        while True:
            try:
                async with self._openings.following(caller, f"runs:{id}") as (envelope, entries):
                    if envelope is not None:
                        await heard.put(_event_of(envelope))
                    async for entry in entries:
                        await heard.put(_event_of(entry.envelope))
            except (HubError, RoomReset):
                await self._clock.sleep(RETRY_SECONDS)

    async def _tick(self, heard: asyncio.Queue[tuple[str, Any] | None], seconds: float) -> None:
        """Put in None where nothing waits to be read."""
        while True:
            await self._clock.sleep(seconds)
            if heard.empty():
                heard.put_nowait(None)

    async def _missed(self, caller: Caller, id: UUID, told: _Told, type: str, data: Mapping[str, Any]) -> list[Item]:
        """Return the whole text where an answer has come to its end, and the reader has missed something of it."""
        if type != "run.completed" or data["sequence"] == told.sequence:
            return []
        row = await self._found(caller, id)
        return [] if row is None else [Item("run.snapshot", orjson.dumps(snapshot(row)).decode())]

    async def _found(self, caller: Caller, id: UUID, heard_at: float = -inf) -> Any:
        """Return the row, None while PostgreSQL is away, or where something was heard just now."""
        if self._clock.monotonic() - heard_at < LOOK_SECONDS / 2:
            return None
        try:
            return await self._row(caller, id)
        except HubError as error:
            if error.code == "RESOURCE_NOT_FOUND":
                raise
            return None

    async def _row(self, caller: Caller, id: UUID) -> Any:
        async with self._database.read(caller.org_id) as db:
            row = await db.fetchrow(SQL["find"], id)
        if row is None:
            raise HubError("RESOURCE_NOT_FOUND", "There is no execution with this id")
        return row


def _event_of(envelope: str) -> tuple[str, Any]:
    event = orjson.loads(envelope)
    return event["type"], event["data"]


def _settles(type: str, data: Mapping[str, Any]) -> bool:
    return type in _ENDS or type == "run.requires_action" or data.get("status") in _SETTLED


def _end_of(data: Mapping[str, Any]) -> Item:
    """Return the end that a snapshot of what has ended tells."""
    left = {name: value for name, value in data.items() if name not in ("text", "action")}
    return Item(f"run.{data['status']}", orjson.dumps(left).decode())
