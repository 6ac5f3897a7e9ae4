"""Time as the hub sees it: one seam, so that a test can hold the clock in its hand.

Nothing else in the hub reads a clock or sleeps. The database has its own clock, and leases are judged by that one.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time for people and tokens, monotonic time for durations, and waiting."""

    def now(self) -> datetime:
        """Return the present in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never run backwards; only differences mean something."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return when `seconds` have passed on this clock."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the present in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return the machine's monotonic seconds."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Sleep on the event loop."""
        await asyncio.sleep(seconds)


def rfc3339(moment: datetime) -> str:
    """Write `moment` (UTC) with microseconds and a `Z` (RFC 3339, section 5.6)."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
