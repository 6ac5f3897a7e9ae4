"""The rhythm of streamed answers: what comes between two ticks goes on together.

The ticks are those of the clock, so all answers of a node have the same ones: what many have written goes to Redis at once, and
comes back at once, and a token costs a part of what it would cost alone. The first of an answer waits for none.
"""

import asyncio

from core.clock import Clock

# No reader sees it: a screen shows one or two frames meanwhile.
TICK_SECONDS = 0.025
# Loops wake up to so much early (theirs count whole milliseconds): who did would wait for the same tick once more.
_EARLY_SECONDS = 0.002


def tick_of(now: float) -> int:
    """Return which tick came last at `now`, of a monotonic clock."""
    return int(now / TICK_SECONDS)


def until_tick(now: float) -> float:
    """Return the seconds until the next tick has come for sure."""
    return (tick_of(now) + 1) * TICK_SECONDS - now + _EARLY_SECONDS


class Ticks:
    """Waits for ticks, for many at once: one timer, whoever of them leaves."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: list[asyncio.Future[None]] = []
        self._ticking: asyncio.Task[None] | None = None

    async def next(self) -> None:
        """Return at the next tick."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        if self._ticking is None:
            self._ticking = asyncio.create_task(self._tick(), name="tick of streamed answers")
        await future

    async def _tick(self) -> None:
        try:
            await self._clock.sleep(until_tick(self._clock.monotonic()))
        finally:
            waiting, self._waiting, self._ticking = self._waiting, [], None
            for future in waiting:
                if not future.done():  # whoever waited has gone
                    future.set_result(None)
