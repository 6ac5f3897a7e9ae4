"""Waiting with a bound, on the injected clock."""

import asyncio
from collections.abc import Awaitable, Coroutine, Iterable
from typing import Any, TypeVar

import structlog

from core.clock import Clock

T = TypeVar("T")
AGAIN_SECONDS = 2.0
CANCELS = 5


async def ended_within(clock: Clock, seconds: float, *futures: asyncio.Future[Any]) -> bool:
    """Wait until one of `futures` has ended, for at most `seconds`; tell whether one has. Cancels none of them."""
    sleeper = asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait({sleeper, *futures}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        sleeper.cancel()
    return any(future.done() for future in futures)


async def within(clock: Clock, seconds: float, work: Awaitable[T]) -> T:
    """Return what `work` returns; raise TimeoutError, with `work` cancelled, when it takes longer than `seconds`."""
    task = asyncio.ensure_future(work)
    try:
        if await ended_within(clock, seconds, task):
            return task.result()
        raise TimeoutError
    finally:
        task.cancel()


class Patience:
    """Bounds waits that come often and one after the other, on the loop's clock: by one timer while they do, not by one each."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._until = 0.0
        self._waiting: asyncio.Task[Any] | None = None
        self._is_lost = False
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, work: Awaitable[T]) -> T:
        """Return what `work` returns; raise TimeoutError, with `work` cancelled, when it takes longer. For one at a time."""
        task = asyncio.current_task(self._loop)
        if task is None:
            raise RuntimeError("it is waited in a task")
        self._until = self._loop.time() + self._seconds
        self._waiting, self._is_lost, asked = task, False, task.cancelling()
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._look)
        try:
            return await work
        except asyncio.CancelledError:
            if self._is_lost:
                self._is_lost = False
                # Who was cancelled by others as well has to end.
                if task.uncancel() <= asked:
                    raise TimeoutError from None
            raise
        finally:
            self._waiting = None
            if self._is_lost:  # and the work has made a value of it, or another error
                task.uncancel()

    def _look(self) -> None:
        self._timer = None
        if self._waiting is None:
            return
        left = self._until - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
        else:
            self._is_lost = True
            self._waiting.cancel()


async def first_of(*works: Coroutine[Any, Any, T]) -> T:
    """Do all until one has ended, and return what it returns, or raise what it raises, once the others have been ended.

    Of several that end in one turn the first that is named counts. What the others end with is nobody's.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end_tasks(tasks)
        for task in tasks:
            if task.done() and not task.cancelled():
                task.exception()  # or it would be logged that nobody has asked
    return next(task for task in tasks if task in ended).result()


async def end_tasks(tasks: Iterable[asyncio.Task[Any]], *, again: float = AGAIN_SECONDS) -> None:
    """Cancel `tasks` and return when all have ended; what they end with is nobody's.

    A cancellation that arrives in the moment in which what a task waits for is done can get lost in the code between (wait_for of
    Python 3.11, clients of servers that have just gone). So who has not ended is cancelled again, every `again` seconds. After
    CANCELS of them it is left behind, with an error in the log: what is to stop stops.
    """
    waiting = {task for task in tasks if not task.done()}
    for _ in range(CANCELS):
        if not waiting:
            return
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=again)
    for task in waiting:
        where = [f"{frame.f_code.co_filename}:{frame.f_lineno}" for frame in task.get_stack()]
        structlog.get_logger().error("cancelled_task_goes_on", task=task.get_name(), where=where)
