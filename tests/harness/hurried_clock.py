"""A clock that runs faster than the machine's, and whose wall time can be set, for nodes that run inside a test."""

import time
from datetime import UTC, datetime, timedelta

from tests.harness.waiting import let_pass


class HurriedClock:
    """Implements core.clock.Clock: `speed` seconds pass on it in one of the machine's, so that what is waited for takes less.

    Wall time runs as the machine's does, from where `jump` has put it: PostgreSQL has that one too.
    """

    def __init__(self, speed: float = 1.0) -> None:
        self.speed = speed
        self._ahead = timedelta()

    def now(self) -> datetime:
        """Return the machine's time, and what it was moved by."""
        return datetime.now(UTC) + self._ahead

    def monotonic(self) -> float:
        """Return seconds that `jump` does not move."""
        return time.monotonic() * self.speed

    async def sleep(self, seconds: float) -> None:
        """Return when `seconds` have passed on this clock."""
        await let_pass(seconds / self.speed)

    def jump(self, seconds: float) -> None:
        """Set the wall clock forwards or back, as an administrator would."""
        self._ahead += timedelta(seconds=seconds)
