"""Publishing into live rooms: what one turn of the event loop brings goes to Redis together.

    publish() ... publish()   -> one pipeline, with one script call for each room -> the place of each event

Under load a turn brings much, so a busy node asks less of Redis, and of itself; alone an event waits for nothing.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from rooms.fence import Fence
from rooms.live_store import Head, Letter, Letters, LiveStore, Outcome, unavailable

# Events that one script call publishes: while it runs, nothing else does in Redis.
AT_ONCE = 64

Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


@dataclass(slots=True)
class _Waiting:
    """The events of one room that go together, and who waits for each."""

    org_id: UUID
    channel: str
    letters: list[Letter] = field(default_factory=list[Letter])
    futures: list["asyncio.Future[Head]"] = field(default_factory=list["asyncio.Future[Head]"])

    def answered(self, outcomes: Sequence[Outcome]) -> None:
        for future, outcome in zip(self.futures, outcomes, strict=True):
            if future.done():  # whoever asked has gone
                continue
            if isinstance(outcome, Head):
                future.set_result(outcome)
            else:
                future.set_exception(outcome)

    def failed(self, error: Exception) -> None:
        for future in self.futures:
            if not future.done():
                refused = unavailable()
                refused.__cause__ = error
                future.set_exception(refused)


class LivePublisher:
    """One of a node. `spawn` runs what must succeed beside its owner, and cancels it at the end."""

    def __init__(self, store: LiveStore, spawn: Spawn) -> None:
        self._store = store
        self._spawn = spawn
        self._waiting: dict[tuple[UUID, str], _Waiting] = {}
        self._full: list[_Waiting] = []

    async def publish(self, org_id: UUID, channel: str, envelope: str, fence: Fence | None = None) -> Head:
        """Publish an event; return its offset and the room's epoch. Those of one room keep the order of the calls.

        Raises Outrun and RoomLost where the fence does not let it through, and HubError SERVICE_UNAVAILABLE when Redis does not
        answer: whether the event went out is unknown then.
        """
        if not self._waiting:
            self._spawn(self._send()).add_done_callback(self._let_go)  # begins in the next turn of the loop
        key = (org_id, channel)
        waiting = self._waiting.get(key)
        if waiting is None:
            waiting = self._waiting[key] = _Waiting(org_id, channel)
        elif len(waiting.letters) == AT_ONCE:
            self._full.append(waiting)
            waiting = self._waiting[key] = _Waiting(org_id, channel)
        future: asyncio.Future[Head] = asyncio.get_running_loop().create_future()
        waiting.letters.append(Letter(envelope, fence))
        waiting.futures.append(future)
        return await future

    def _let_go(self, sending: asyncio.Task[None]) -> None:
        """Answer those who wait for what was cancelled before it began."""
        if sending.cancelled():
            for some in self._taken():
                some.failed(ConnectionError("The node ends"))

    def _taken(self) -> list[_Waiting]:
        sent = [*self._full, *self._waiting.values()]
        self._full, self._waiting = [], {}
        return sent

    async def _send(self) -> None:
        sent = self._taken()
        try:
            letters = [Letters(some.org_id, some.channel, some.letters) for some in sent]
            for some, answer in zip(sent, await self._store.publish_each(letters), strict=True):
                if isinstance(answer, Exception):
                    some.failed(answer)
                else:
                    some.answered(answer)
        except BaseException as ended:
            # Cancelled at the end, or by a bug: nobody waits for ever.
            for some in sent:
                some.failed(ended if isinstance(ended, Exception) else ConnectionError("The node ends"))
            raise
