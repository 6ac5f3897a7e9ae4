"""What many sockets acknowledge of one durable subscription, joined: what comes while one statement runs goes with the next."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from core.errors import HubError
from core.events.subscriptions.subscription import Hold

# Ends deliveries; returns those whose lease still held.
Acknowledge = Callable[[Sequence[Hold]], Awaitable[set[Hold]]]


class Acks:
    """Of one subscription on one node. Nothing is cancelled: what a client has said is done, also where it has left."""

    def __init__(self, acknowledge: Acknowledge) -> None:
        self._acknowledge = acknowledge
        self._waiting: list[tuple[Sequence[Hold], asyncio.Future[set[Hold]]]] = []
        self._task: asyncio.Task[None] | None = None

    async def add(self, holds: Sequence[Hold]) -> set[Hold]:
        """Acknowledge deliveries; return those whose lease still held, perhaps of others too. Raises HubError."""
        answer: asyncio.Future[set[Hold]] = asyncio.get_running_loop().create_future()
        self._waiting.append((holds, answer))
        if self._task is None:
            self._task = asyncio.create_task(self._flush(), name="acks")
        return await answer

    async def _flush(self) -> None:
        while self._waiting:
            taken, self._waiting = self._waiting, []
            holds = [hold for each, _ in taken for hold in each]
            refused: HubError | None = None
            done: set[Hold] = set()
            try:
                done = await self._acknowledge(holds)
            except HubError as known:
                refused = known
            except Exception:  # noqa: BLE001 - the boundary: those who wait are told, and the next ones are served
                structlog.get_logger().exception("acks_failed")
                refused = HubError("INTERNAL_ERROR")
            for _, answer in taken:
                if answer.done():  # who asked was cancelled
                    continue
                if refused is None:
                    answer.set_result(done)
                else:
                    answer.set_exception(refused)
        self._task = None
