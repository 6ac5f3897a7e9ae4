"""What a run writes, on its way to its readers: joined deltas into its rooms, and the text so far into PostgreSQL.

What comes within a tick is one delta (handlers/models/ticks.py); the first goes at once. The text is saved a second after it was
told, at the latest, with the place in each room up to which it goes: whoever joins gets the text, and goes on from there. Where
Redis has lost a room, or does not answer, the room is told the whole text as soon as it can be. A run does not wait for a Redis
that stands still: it has patience once, and then says nothing for a second.
"""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
import structlog

from core.clock import Clock
from core.deadline import Patience, first_of
from core.errors import HubError
from core.events.event import SOURCE
from core.store.database import Database
from handlers.agents.executions.store import SQL
from handlers.lasting.announcing import Rooms, number_of
from handlers.models.ticks import tick_of, until_tick
from rooms.fence import Fence, Outrun, RoomLost

SAVE_SECONDS = 1.0
RETRY_SECONDS = 0.25
# For an answer that takes a millisecond. The connection itself has more, so late ones come all the same, before what is told next.
PATIENCE_SECONDS = 0.5
QUIET_SECONDS = 1.0


@dataclass(slots=True)
class _Room:
    """Where a room is; `place` None: what was told is not all there."""

    channel: str
    patience: Patience
    epoch: str | None = None
    place: tuple[int, str] | None = None


def rooms_of(row: Any) -> list[str]:
    """Return the channels of an execution: its own, and its session's."""
    session = [] if row["session_id"] is None else [f"sessions:{row['session_id']}"]
    return [f"runs:{row['id']}", *session]


class Telling:
    """Of one attempt. `run()` beside the work; it raises Outrun where the attempt is not the last any more.

    The work need not wait until it is told that it has begun: what it says waits for that.
    """

    def __init__(self, rooms: Rooms, database: Database, clock: Clock, row: Any) -> None:
        self.text: str = row["text"]
        self.sequence: int = row["sequence"]
        self._rooms = rooms
        self._database = database
        self._clock = clock
        self._org_id: UUID = row["org_id"]
        self._id: UUID = row["id"]
        self._attempt: int = row["attempt"]
        self._told = [_Room(channel, Patience(PATIENCE_SECONDS)) for channel in rooms_of(row)]
        self._fresh: list[str] = []
        self._more = asyncio.Event()
        self._turn = asyncio.Lock()
        self._is_open = asyncio.Event()
        self._told_at = -1
        self._quiet_until = -math.inf
        self._unsaved = asyncio.Event()

    @property
    def places(self) -> str | None:
        """Where in each room the text ends (JSON), None where one of them does not have all of it."""
        if any(room.place is None for room in self._told):
            return None
        return orjson.dumps({room.channel: room.place for room in self._told}).decode()

    @property
    def characters(self) -> int:
        """How long the text is, with what is on its way."""
        return len(self.text) + sum(map(len, self._fresh))

    def write(self, text: str) -> None:
        """Take a piece of text."""
        self._fresh.append(text)
        self._more.set()

    async def step(self, shown: str) -> None:
        """Tell of a step (JSON), after all that was written."""
        await self.flush()
        async with self._turn:
            await self._say("run.step", {"step": orjson.Fragment(shown)})

    async def flush(self) -> None:
        """Tell what is on its way."""
        await self._is_open.wait()
        async with self._turn:
            await self._tell()

    async def go_back(self, text: str) -> None:
        """Tell that what came after `text` is void: the attempt goes on from there."""
        await self._is_open.wait()
        async with self._turn:
            self._fresh.clear()
            self._unsaved.set()
            self.text = text
            self.sequence += 1
            await self._say("run.restarted", {"sequence": self.sequence, "text": text})

    async def run(self, type: str, more: Mapping[str, Any]) -> None:
        """Tell that the attempt has begun, then tell and save until cancelled; raises Outrun."""
        await self._tell_all(type, {"sequence": self.sequence, "text": self.text, **more})
        # Before the first delta: who joins would go on from somewhere behind it.
        while not await self._save():
            await self._clock.sleep(RETRY_SECONDS)
        self._is_open.set()
        await first_of(self._tell_on(), self._save_on())

    async def _tell_on(self) -> None:
        """Tell what is written: at once where nothing was told since the last tick, else with the next one."""
        while True:
            await self._more.wait()
            self._more.clear()
            now = self._clock.monotonic()
            if self._told_at == tick_of(now):
                await self._clock.sleep(until_tick(now))
            await self.flush()

    async def _save_on(self) -> None:
        """Save what is told a second after it was; what cannot be saved then, another second later."""
        while True:
            await self._unsaved.wait()
            await self._clock.sleep(SAVE_SECONDS)
            async with self._turn:
                if self._unsaved.is_set():
                    await self._save()

    async def _tell(self) -> None:
        if not self._fresh:
            return
        piece = "".join(self._fresh)
        self._fresh.clear()
        self._unsaved.set()
        self.text += piece
        self.sequence += 1
        self._told_at = tick_of(self._clock.monotonic())
        await self._say("run.delta", {"sequence": self.sequence, "text": piece})

    async def _say(self, type: str, data: Mapping[str, Any]) -> None:
        before = [room.place for room in self._told]
        await self._tell_all(type, data)
        mended = [room for room, place in zip(self._told, before, strict=True) if _is_mended(room, place)]
        if not mended:
            return
        # Who joins before this is saved finds an older text and no place of it, and goes on from here: so all is said once more.
        is_saved = await self._save()
        for room in mended:
            await self._publish(room, "run.snapshot", self._whole, None)
            if not is_saved:
                room.place = None

    async def _tell_all(self, type: str, data: Mapping[str, Any]) -> None:
        if len(self._told) == 1:  # of two, each has a task
            await self._say_in(self._told[0], type, data)
            return
        told = await asyncio.gather(*(self._say_in(room, type, data) for room in self._told), return_exceptions=True)
        for each in told:
            if each is not None:
                raise each

    @property
    def _whole(self) -> Mapping[str, Any]:
        return {"sequence": self.sequence, "text": self.text, "status": "running", "action": None}

    async def _say_in(self, room: _Room, type: str, data: Mapping[str, Any]) -> None:
        is_whole = "text" in data and type != "run.delta"
        try:
            # A room that misses something is told everything; one that is lost says so.
            if not is_whole and room.place is None:
                raise RoomLost("")
            await self._publish(room, type, data, None if is_whole else room.epoch)
        except RoomLost:
            await self._publish(room, "run.snapshot", self._whole, None)

    async def _publish(self, room: _Room, type: str, data: Mapping[str, Any], epoch: str | None) -> None:
        if self._clock.monotonic() < self._quiet_until:
            room.place = None
            return
        said = orjson.dumps({"execution_id": str(self._id), "attempt": self._attempt, **data})
        fence = Fence(str(self._id), number_of(self._attempt), epoch=epoch)
        try:
            at = await room.patience.wait(
                self._rooms.publish(self._org_id, room.channel, type, said, source=SOURCE, fence=fence)
            )
        except HubError as error:
            self._not_told(room, error.code)
        except TimeoutError:
            self._quiet_until = self._clock.monotonic() + QUIET_SECONDS
            self._not_told(room, "TIMEOUT")
        else:
            room.epoch, room.place = at.epoch, (at.offset, at.epoch)

    def _not_told(self, room: _Room, code: str) -> None:
        room.place = None
        structlog.get_logger().warning("run_not_told", execution=str(self._id), error=code)

    async def _save(self) -> bool:
        """Save text and places; False while PostgreSQL is away. Raises Outrun."""
        saved = (self._id, self._attempt, self.text, self.sequence, self.places)
        try:
            async with self._database.read(self._org_id) as db:
                is_ours = await db.fetchval(SQL["save"], *saved)
        except HubError:
            return False  # a second later it is tried again
        if not is_ours:
            raise Outrun
        self._unsaved.clear()
        return True


def _is_mended(room: _Room, before: tuple[int, str] | None) -> bool:
    """Tell whether a room that lacked something, or was lost, has all again."""
    return room.place is not None and (before is None or before[1] != room.place[1])
