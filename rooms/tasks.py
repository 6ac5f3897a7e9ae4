"""Background tasks of one owner: kept, cancelled at the end, and never lost silently."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

from core.deadline import end_tasks


class Tasks:
    """Runs work beside its owner. A crash of work that must succeed is logged, and ends `crash`, which the owner surfaces."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()
        self._crash: asyncio.Future[None] | None = None
        self._is_closed = False

    @property
    def crash(self) -> asyncio.Future[None]:
        """Ends with the exception of the first crash."""
        if self._crash is None:
            self._crash = asyncio.get_running_loop().create_future()
        return self._crash

    def spawn(self, work: Coroutine[Any, Any, None], *, must_succeed: bool = True) -> asyncio.Task[None]:
        """Run `work`; after `close` it is cancelled before it begins. Where it may fail, whoever waits for it gets the error."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._crashed if must_succeed else self._ended)
        if self._is_closed:
            task.cancel()
        return task

    async def close(self) -> None:
        """Cancel what runs, and wait for its end. What its owner uses may be closed after that: nothing is begun any more."""
        self._is_closed = True
        left: set[asyncio.Task[None]] = set()
        # What runs may have begun more; what has just ended is in the set until the next turn.
        while running := [task for task in self._running if not task.done() and task not in left]:
            await end_tasks(running)
            left.update(running)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # if all who waited have left, nobody needs it

    def _crashed(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            structlog.get_logger().error("background_task_crashed", exc_info=error)
            if not self.crash.done():
                self.crash.set_exception(error)
