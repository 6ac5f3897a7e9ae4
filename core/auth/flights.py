"""Work that several callers want at the same time is done once; each of them gets its outcome."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from core.clock import Clock
from core.deadline import end_tasks
from core.errors import HubError

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class _Flight(Generic[Result]):
    task: "asyncio.Task[Result]"
    began: float


class Flights(Generic[Key, Result]):
    """Running work by key. A caller that goes away does not end it for the others.

    Work that began more than `fresh` seconds ago (None: no bound) is not joined: what it read may be too old to be an answer.
    """

    def __init__(self, clock: Clock, *, fresh: float | None = None) -> None:
        self._clock = clock
        self._fresh = fresh
        self._running: dict[Key, _Flight[Result]] = {}
        self._tasks: set[asyncio.Task[Result]] = set()

    async def join(self, key: Key, work: Callable[[], Awaitable[Result]]) -> Result:
        """Return the outcome of the work that runs for `key`, which is begun where there is none."""
        return await asyncio.shield(self.begin(key, work))

    def begin(self, key: Key, work: Callable[[], Awaitable[Result]]) -> "asyncio.Task[Result]":
        """Return the task that runs for `key`, begun where there is none; nobody need await it."""
        flight = self._running.get(key)
        if flight is not None and self._joinable(flight):
            return flight.task
        task = asyncio.ensure_future(_run(work))
        self._running[key] = _Flight(task, self._clock.monotonic())
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._land(key, done))
        return task

    async def close(self) -> None:
        """End what still runs; those who wait for it are cancelled."""
        await end_tasks(list(self._tasks))

    def __len__(self) -> int:
        return len(self._tasks)

    def _joinable(self, flight: _Flight[Result]) -> bool:
        if flight.task.done():
            return False
        return self._fresh is None or self._clock.monotonic() - flight.began < self._fresh

    def _land(self, key: Key, task: "asyncio.Task[Result]") -> None:
        self._tasks.discard(task)
        flight = self._running.get(key)
        if flight is not None and flight.task is task:
            del self._running[key]
        if task.cancelled():
            return
        error = task.exception()
        # A refusal belongs to those who wait. Anything else is a bug, and perhaps nobody waits any more.
        if error is not None and not isinstance(error, HubError):
            structlog.get_logger().error("shared_work_failed", exc_info=error)


async def _run(work: Callable[[], Awaitable[Result]]) -> Result:
    return await work()
