"""The node's background tasks: kept, named, and never lost silently.

A task that ends by an exception is a bug: it is logged and the node goes down, so that whoever supervises it starts a sound one.
What can fail for a while (a relay without PostgreSQL) handles that itself.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from core.deadline import end_tasks


class Background:
    """Owns the tasks of a node; `on_death` is called once for each task that died."""

    def __init__(self, on_death: Callable[[str], None]) -> None:
        self._on_death = on_death
        self._tasks: set[asyncio.Task[None]] = set()
        self._log = structlog.get_logger()

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` until it ends or `stop()`."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def stop(self) -> None:
        """Cancel what runs and wait for its end."""
        await end_tasks(list(self._tasks))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._log.error("background_task_died", task=task.get_name(), exc_info=error)
            self._on_death(task.get_name())
