"""Work of one connection that goes on beside its later frames: what is stored takes a transaction, which many can share."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

Work = Coroutine[Any, Any, None]


class Beside:
    """At most `most` at a time, begun in the order of the frames; what comes then is awaited, and with it the next frame.

    `crashed` hears of a fault.
    """

    __slots__ = ("_crashed", "_most", "_running")

    def __init__(self, most: int, crashed: Callable[[BaseException], None]) -> None:
        self._most = most
        self._crashed = crashed
        self._running: set[asyncio.Task[None]] = set()

    def begin(self, work: Work) -> Work | None:
        """Begin `work`, or return what is to be awaited before the next frame is taken: it begins as soon as there is room."""
        if len(self._running) >= self._most:
            return self._begin_later(work)
        self._spawn(work)
        return None

    def close(self) -> None:
        """End what is under way. What is committed stays, though nobody hears of it."""
        for task in self._running:
            task.cancel()

    async def _begin_later(self, work: Work) -> None:
        try:
            await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            work.close()
            raise
        self._spawn(work)

    def _spawn(self, work: Work) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._crashed(error)
