"""Deadlines of operations: what asyncio.timeout promises, with one timer for all that run, as every request has one."""

import asyncio
from types import TracebackType


class Deadlines:
    """Cancels what runs longer than it may. Belongs to the loop in which it is used first."""

    def __init__(self) -> None:
        self._running: set[Deadline] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0.0

    def within(self, seconds: float) -> "Deadline":
        """Return the context in which the current task has `seconds`; after them it is cancelled, and TimeoutError leaves it."""
        return Deadline(self, seconds)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop

    def begin(self, deadline: "Deadline") -> None:
        """Watch over one."""
        self._running.add(deadline)
        # Most have the same length, so the timer that there is comes before the end of the next.
        if self._timer is None or deadline.at < self._next:
            self._arm(deadline.at)

    def end(self, deadline: "Deadline") -> None:
        """Forget one. The timer stays for the next."""
        self._running.discard(deadline)

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next = at
        self._timer = self.loop.call_at(at, self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = self.loop.time()
        for deadline in [each for each in self._running if each.at <= now]:
            self._running.discard(deadline)
            deadline.expire()
        if self._running:
            self._arm(min(each.at for each in self._running))


class Deadline:
    """One, as a context manager: see `Deadlines.within`."""

    __slots__ = ("_cancelling", "_has_expired", "_owner", "_task", "at")

    def __init__(self, owner: Deadlines, seconds: float) -> None:
        self._owner = owner
        self._has_expired = False
        self.at = owner.loop.time() + seconds

    def __enter__(self) -> None:
        task = asyncio.current_task(self._owner.loop)
        if task is None:
            raise RuntimeError("a deadline is of a task")
        self._task = task
        self._cancelling = task.cancelling()
        self._owner.begin(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._owner.end(self)
        # As asyncio.timeout: where somebody else has cancelled the task too, that is what counts.
        if self._has_expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def expire(self) -> None:
        """End the task's work."""
        self._has_expired = True
        self._task.cancel()
