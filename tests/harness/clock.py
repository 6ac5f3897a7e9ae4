"""A clock that stands still until a test moves it."""

import asyncio
import heapq
import itertools
from datetime import UTC, datetime, timedelta

# A sleeper that wakes may wake others, who start tasks: this many turns let such chains run out.
TURNS_TO_SETTLE = 20
_START_SECONDS = 1000.0


class ManualClock:
    """Implements core.clock.Clock. Time moves only by `advance` and `jump`."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._monotonic = _START_SECONDS
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        """Return the wall time that the test has set."""
        # Not summed up from steps, each of which would be rounded.
        return self._start + timedelta(seconds=self._monotonic - _START_SECONDS)

    def monotonic(self) -> float:
        """Return seconds that `jump` does not move."""
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        """Return when the test has advanced by `seconds`; no time or less is a yield."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._monotonic + seconds, next(self._order), woken))
        await woken

    @property
    def sleeping(self) -> int:
        """How many wait on this clock."""
        return sum(not woken.done() for _, _, woken in self._sleepers)

    async def advance(self, seconds: float) -> None:
        """Move both times on; sleepers fire in the order of their time, and each one's work settles before the next fires.

        Work that waits for a socket settles later: follow with `eventually`.
        """
        target = self._monotonic + seconds
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= target:
            due, _, woken = heapq.heappop(self._sleepers)
            if woken.done():  # its sleeper was cancelled
                continue
            self._move_to(due)
            woken.set_result(None)
            await self.settle()
        self._move_to(target)
        await self.settle()

    def jump(self, seconds: float) -> None:
        """Set the wall clock forwards or back, as an administrator would: no sleeper wakes."""
        self._start += timedelta(seconds=seconds)

    async def settle(self) -> None:
        """Let what is ready to run do so."""
        for _ in range(TURNS_TO_SETTLE):
            await asyncio.sleep(0)

    def _move_to(self, monotonic: float) -> None:
        self._monotonic = max(self._monotonic, monotonic)
