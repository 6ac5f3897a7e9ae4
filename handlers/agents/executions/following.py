"""Waiting for an execution, and reading what it writes, inside a request: all of a node who do share one hearing of it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from core.auth.caller import Caller
from core.clock import Clock
from core.deadline import end_tasks
from core.errors import HubError
from core.operations.results import Item
from core.store.database import Database
from handlers.agents.executions.hearing import SETTLED, Hearing
from handlers.agents.executions.store import SQL
from handlers.lasting.hearing import LOOK_SECONDS, Openings

# Who may hear the same: a caller's organisation, the execution, and what the caller is restricted to.
_Key = tuple[UUID, UUID, frozenset[UUID] | None]


@dataclass(slots=True)
class _Shared:
    hearing: Hearing
    task: asyncio.Task[None]
    readers: int = 0


class Executing:
    """Follows executions for requests of this node."""

    def __init__(self, database: Database, openings: Openings, clock: Clock) -> None:
        self._database = database
        self._openings = openings
        self._clock = clock
        self._heard: dict[_Key, _Shared] = {}

    async def wait(self, caller: Caller, id: UUID, seconds: float) -> Any:
        """Return the execution's row once it has ended or waits for its caller, at the latest after `seconds`."""
        until = self._clock.monotonic() + seconds
        row = await self._row(caller, id)
        if row["status"] in SETTLED or seconds <= 0:
            return row
        async with self._hearing(caller, id) as hearing:
            # What one that was there before has told meanwhile may be in no row that was read before.
            is_older = hearing.count > 0
            while True:
                settlings, is_over = hearing.settlings, hearing.is_over
                if hearing.error is not None:
                    raise hearing.error
                if is_older:
                    row = await self._row(caller, id)
                left = until - self._clock.monotonic()
                if row["status"] in SETTLED or left <= 0 or is_over:
                    return row
                await hearing.settled(settlings, min(LOOK_SECONDS, left))
                is_older = True

    async def parts(self, caller: Caller, id: UUID) -> AsyncGenerator[Item]:
        """Yield what was said so far, and what follows, to the end. Raises HubError where there is no such execution any more."""
        async with self._hearing(caller, id) as hearing:
            count = 0 if hearing.count == 0 else -1
            while True:
                if count != hearing.count:
                    said, count = hearing.since(count), hearing.count
                    for item in said:
                        yield item
                elif hearing.is_over:
                    break
                else:
                    await hearing.more()
            if hearing.error is not None:
                raise hearing.error

    @asynccontextmanager
    async def _hearing(self, caller: Caller, id: UUID) -> AsyncGenerator[Hearing]:
        key = (caller.org_id, id, caller.resource_ids)
        shared = self._heard.get(key)
        if shared is None or shared.hearing.is_over:
            shared = self._heard[key] = self._begin(caller, id)
        shared.readers += 1
        try:
            yield shared.hearing
        finally:
            shared.readers -= 1
            if not shared.readers:
                # Whoever comes while it ends begins another.
                if self._heard.get(key) is shared:
                    del self._heard[key]
                await end_tasks([shared.task])

    def _begin(self, caller: Caller, id: UUID) -> _Shared:
        hearing = Hearing(caller, id, openings=self._openings, find=lambda: self._row(caller, id), clock=self._clock)
        task = asyncio.create_task(hearing.run(), name="execution heard")
        task.add_done_callback(lambda done: hearing.close(_error_of(done)))
        return _Shared(hearing, task)

    async def _row(self, caller: Caller, id: UUID) -> Any:
        async with self._database.read(caller.org_id) as db:
            row = await db.fetchrow(SQL["find"], id)
        if row is None:
            raise HubError("RESOURCE_NOT_FOUND", "There is no execution with this id")
        return row


def _error_of(done: asyncio.Task[None]) -> BaseException | None:
    if done.cancelled():  # its readers are, too, or the node ends
        return HubError("SERVICE_UNAVAILABLE", "This node stops; ask again", retry_after=1)
    return done.exception()
