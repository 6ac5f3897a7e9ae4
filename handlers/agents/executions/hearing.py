"""What one execution says, heard once for all of this node who read it.

    its room, PostgreSQL -> Hearing: by the rules of docs/protocol.md -> what was said last -> readers, each with its place

Who joins in the middle, or reads so slowly that what follows is here no more, gets the whole text and goes on from there. While
Redis is away nothing is heard: then PostgreSQL is asked each second, and the whole text said as it was saved.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import islice
from typing import Any
from uuid import UUID

import orjson

from core.auth.caller import Caller
from core.clock import Clock
from core.deadline import ended_within, first_of
from core.errors import HubError
from core.operations.results import Item
from handlers.agents.executions.models import ENDED
from handlers.agents.executions.snapshots import snapshot
from handlers.agents.executions.told import Told
from handlers.lasting.hearing import LOOK_SECONDS, RETRY_SECONDS, Openings
from rooms.live_following import RoomReset

# What is kept for readers that are not so far yet, and at least what was said last; in characters of JSON.
MOST_KEPT, MOST_KEPT_SIZE = 256, 512 * 1024
SETTLED = frozenset({*ENDED, "requires_action"})
_ENDS = frozenset(f"run.{status}" for status in ENDED)


class Hearing:
    """One execution. `run()` beside its readers, then `close`; `find` gives the execution's row, and raises HubError.

    count       how much was said
    settlings   how often it was said that it has ended, or waits for its caller
    is_over     nothing more will be said; `error` tells why where the end was not
    """

    def __init__(
        self, caller: Caller, id: UUID, *, openings: Openings, find: Callable[[], Awaitable[Any]], clock: Clock
    ) -> None:
        self.count = 0
        self.settlings = 0
        self.is_over = False
        self.error: BaseException | None = None
        self._caller = caller
        self._id = id
        self._openings = openings
        self._find = find
        self._clock = clock
        self._heard_at = clock.monotonic()
        self._told = Told()
        self._said: deque[Item] = deque()
        self._size = 0
        self._more = _Bell()
        self._settled = _Bell()

    def since(self, count: int) -> Sequence[Item]:
        """Return what was said after the first `count`; where that is here no more, the whole text, and the end, if it came."""
        missing = self.count - count
        if missing <= len(self._said):
            return list(islice(self._said, len(self._said) - missing, None))
        whole = _item("run.snapshot", self._told.whole(self._id))
        return [whole, self._said[-1]] if self._said[-1].name in _ENDS else [whole]

    async def more(self) -> None:
        """Return when more was said, or it is over."""
        if not self.is_over:
            await self._more.rung()

    async def settled(self, settlings: int, seconds: float) -> None:
        """Return when it has settled more often than `settlings` times, or is over; at the latest after `seconds`."""
        if self.is_over or self.settlings > settlings:
            return
        waiting = asyncio.ensure_future(self._settled.rung())
        try:
            await ended_within(self._clock, seconds, waiting)
        finally:
            waiting.cancel()

    async def run(self) -> None:
        """Hear it to its end. Raises HubError RESOURCE_NOT_FOUND where there is no such execution any more."""
        await first_of(self._hear(), self._look())

    def close(self, error: BaseException | None) -> None:
        """Tell the readers that nothing more comes, and why, where that is not the end."""
        self.is_over, self.error = True, error
        self._more.ring()
        self._settled.ring()

    async def _hear(self) -> None:
        """Take what the room tells, up to the end; begin anew where it was lost."""
        while not self.is_over:
            try:
                async with self._openings.following(self._caller, f"runs:{self._id}") as (envelope, entries):
                    if envelope is not None:
                        await self._take(envelope)
                    while not self.is_over:
                        await self._take((await anext(entries)).envelope)
            except (HubError, RoomReset):
                await self._clock.sleep(RETRY_SECONDS)

    async def _look(self) -> None:
        """Say what PostgreSQL has, where nothing was heard for a while."""
        while not self.is_over:
            await self._clock.sleep(LOOK_SECONDS)
            if self._clock.monotonic() - self._heard_at >= LOOK_SECONDS / 2:
                row = await self._found()
                if row is not None and (self._told.lacks(row) or row["status"] in ENDED):
                    self._say_all(row)

    async def _take(self, envelope: str) -> None:
        event = orjson.loads(envelope)
        type, data = event["type"], event["data"]
        self._heard_at = self._clock.monotonic()
        if type == "run.completed" and data["sequence"] != self._told.sequence:
            # It has come to its end, and something of it was missed.
            row = await self._found()
            if row is not None:
                self._say_all(row)
        if not self.is_over and self._told.takes(type, data):
            self._say(type, data)

    def _say_all(self, row: Any) -> None:
        """Say what an execution has written, and its end where it has come to it."""
        said = snapshot(row)
        if not self.is_over and (self._told.takes("run.snapshot", said) or row["status"] in ENDED):
            self._say("run.snapshot", said)

    def _say(self, type: str, data: Mapping[str, Any]) -> None:
        self._keep(_item(type, data))
        if type in _ENDS:
            self.is_over = True
        elif type == "run.snapshot" and data["status"] in ENDED:
            self._keep(_end_of(data))
            self.is_over = True
        self._more.ring()
        if type == "run.requires_action" or data.get("status") in SETTLED:
            self.settlings += 1
            self._settled.ring()

    def _keep(self, item: Item) -> None:
        said = self._said
        said.append(item)
        self.count += 1
        self._size += len(item.data)
        while len(said) > 1 and (len(said) > MOST_KEPT or self._size > MOST_KEPT_SIZE):
            self._size -= len(said.popleft().data)

    async def _found(self) -> Any:
        """Return the row, None while PostgreSQL is away. Raises HubError RESOURCE_NOT_FOUND."""
        try:
            return await self._find()
        except HubError as error:
            if error.code == "RESOURCE_NOT_FOUND":
                raise
            return None


class _Bell:
    """Wakes all who wait for it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: set[asyncio.Future[None]] = set()

    async def rung(self) -> None:
        """Return when it is rung."""
        future = self._loop.create_future()
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)

    def ring(self) -> None:
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done():  # whoever waited has gone
                future.set_result(None)


def _item(type: str, data: Mapping[str, Any]) -> Item:
    return Item(type, orjson.dumps(data).decode())


def _end_of(data: Mapping[str, Any]) -> Item:
    """Return the end that a snapshot of what has ended tells."""
    left = {name: value for name, value in data.items() if name not in ("text", "action")}
    return _item(f"run.{data['status']}", left)
