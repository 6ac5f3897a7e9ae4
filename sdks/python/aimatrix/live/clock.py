"""Time as the client sees it: one seam, so that a test can hold the clock in its hand."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Monotonic time that goes on while the machine sleeps, and waiting, which may not."""

    def monotonic(self) -> float:
        """Return seconds that never run backwards; only differences mean something."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return when `seconds` have passed, later where the machine was asleep meanwhile."""
        ...


# Linux's CLOCK_MONOTONIC stands still in sleep, that of other systems does not.
_SLEEPLESS: int | None = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


class SystemClock:
    """The machine's clock."""

    def monotonic(self) -> float:
        """Return the machine's seconds, those of its sleep counted."""
        return time.monotonic() if _SLEEPLESS is None else time.clock_gettime(_SLEEPLESS)

    async def sleep(self, seconds: float) -> None:
        """Sleep on the event loop."""
        await asyncio.sleep(seconds)
