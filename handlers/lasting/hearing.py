"""Hearing a room inside a request: what it tells, and at times that nothing was told, so that PostgreSQL is asked."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import orjson

from core.auth.caller import Caller
from core.clock import Clock
from core.deadline import end_tasks
from core.errors import HubError
from rooms.live_following import Following, RoomReset

# After so long without a word PostgreSQL is asked.
LOOK_SECONDS = 1.0
RETRY_SECONDS = 0.25
# Events that a reader may lag behind before the room waits for it, in memory of the node.
MOST_WAITING = 64

# What was told: its type and its data. None: nothing for a while.
Heard = asyncio.Queue[tuple[str, Any] | None]


class Openings(Protocol):
    """Reads rooms from where they stand (rooms.openings.Openings)."""

    def following(self, caller: Caller, channel: str) -> AbstractAsyncContextManager[tuple[str | None, Following]]:
        """Give what was said so far, and what follows."""
        ...


@asynccontextmanager
async def heard(
    openings: Openings, clock: Clock, caller: Caller, channel: str, seconds: float = LOOK_SECONDS
) -> AsyncGenerator[Heard]:
    """Give a queue of what a room tells, from what was said so far on; None in it after `seconds` of silence."""
    queue: Heard = asyncio.Queue(MOST_WAITING)
    tasks = [
        asyncio.create_task(_hear(openings, clock, caller, channel, queue), name="room heard"),
        asyncio.create_task(_tick(clock, queue, seconds), name="room waited for"),
    ]
    try:
        yield queue
    finally:
        await end_tasks(tasks)


async def _hear(openings: Openings, clock: Clock, caller: Caller, channel: str, queue: Heard) -> None:
    """Put in what the room tells; begin anew where it was lost."""
    while True:
        try:
            async with openings.following(caller, channel) as (envelope, entries):
                if envelope is not None:
                    await queue.put(_event_of(envelope))
                async for entry in entries:
                    await queue.put(_event_of(entry.envelope))
        except (HubError, RoomReset):
            await clock.sleep(RETRY_SECONDS)


async def _tick(clock: Clock, queue: Heard, seconds: float) -> None:
    """Put in None where nothing waits to be read."""
    while True:
        await clock.sleep(seconds)
        if queue.empty():
            queue.put_nowait(None)


def _event_of(envelope: str) -> tuple[str, Any]:
    event = orjson.loads(envelope)
    return event["type"], event["data"]
