"""All that is consumed over the sockets of a node: a desk for each durable subscription, as long as somebody is at it."""

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any
from uuid import UUID

import structlog

from core.clock import Clock
from core.deadline import end_tasks, ended_within
from core.events.subscriptions.subscription import Hold, Outlook
from hub.stream.commands import Settle
from hub.stream.counts import StreamCounts
from hub.stream.desk import Arrivals, Desk, Leases
from hub.stream.taker import Taker

# A desk that has died is made to work again; a fault that lasts costs one try in so long.
RESTART_SECONDS = 1.0
# So long a stopping node gives back what its sockets have left; then the leases end by themselves.
CLOSE_SECONDS = 5.0


class Consumers:
    """One for each node. `stop_leasing` when it drains; `close` when the sockets are gone."""

    def __init__(self, leases: Leases, arrivals: Arrivals, clock: Clock, counts: StreamCounts) -> None:
        self._leases = leases
        self._arrivals = arrivals
        self._clock = clock
        self._counts = counts
        self._desks: dict[tuple[UUID, UUID], Desk] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_leasing = True
        self._is_closed = False

    async def outlook(self, org_id: UUID, id: UUID) -> Outlook | None:
        """Return how a subscription stands, None where there is none. Raises HubError while PostgreSQL is away."""
        return await self._leases.outlook(org_id, id)

    def join(self, org_id: UUID, id: UUID, taker: Taker) -> None:
        """Let a socket take part in a subscription."""
        self._counts.consumers += 1
        desk = self._desks.get((org_id, id))
        if desk is None:
            desk = self._desks[org_id, id] = Desk(org_id, id, self._leases, self._arrivals, self._clock)
            if not self._is_leasing:
                desk.stop_leasing()
            self._run(desk, (org_id, id), 0.0)
        desk.join(taker)

    def leave(self, org_id: UUID, id: UUID, taker: Taker) -> None:
        """Let it take part no more; what it has not answered is given back."""
        self._counts.consumers -= 1
        desk = self._desks.get((org_id, id))
        if desk is not None:
            desk.leave(taker)

    def settle(self, org_id: UUID, id: UUID, taker: Taker, command: Settle) -> Coroutine[Any, Any, set[Hold]]:
        """Take the answer of a socket that takes part, as Desk.settle."""
        return self._desks[org_id, id].settle(taker, command)

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Do work that goes on where its socket ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def stop_leasing(self) -> None:
        """Hand nothing out any more; answers are taken."""
        self._is_leasing = False
        for desk in self._desks.values():
            desk.stop_leasing()

    async def close(self) -> None:
        """Give back what is left, for a moment, and end. All sockets are gone."""
        self._is_closed = True
        if self._tasks:
            ended = asyncio.gather(*self._tasks, return_exceptions=True)
            await ended_within(self._clock, CLOSE_SECONDS, ended)
        await end_tasks(list(self._tasks))

    def _run(self, desk: Desk, key: tuple[UUID, UUID], after: float) -> None:
        task = self.spawn(self._work(desk, after))
        task.add_done_callback(partial(self._ended, desk, key))

    async def _work(self, desk: Desk, after: float) -> None:
        await self._clock.sleep(after)
        await desk.run()

    def _ended(self, desk: Desk, key: tuple[UUID, UUID], task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            structlog.get_logger().error("consumers_died", subscription=str(key[1]), exc_info=error)
            self._counts.consuming_restarts += 1
        if task.cancelled() or self._is_closed or not desk.is_needed:
            del self._desks[key]
        else:  # it has died, or somebody came as it ended
            self._run(desk, key, 0.0 if error is None else RESTART_SECONDS)
