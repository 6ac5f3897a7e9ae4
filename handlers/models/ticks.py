"""The rhythm of streamed answers: what comes between two ticks goes on together.

The ticks are those of the clock, so all answers of a node have the same ones: what many have written goes to Redis at once, and
comes back at once, and a token costs a part of what it would cost alone. The first of an answer waits for none.

Where the loop comes late to a tick it has too much to do: then the next one is further, so that more is joined and each token costs
less, until it is in time again.
"""

import asyncio
import math
from collections.abc import Callable

from core.clock import Clock

# No reader sees it: a screen shows one or two frames meanwhile.
TICK_SECONDS = 0.025
# Loops wake up to so much early (theirs count whole milliseconds): who did would wait for the same tick once more.
_EARLY_SECONDS = 0.002
# Ticks that are left out at most where the loop is late.
MOST_LEFT_OUT = 2

_Wait = tuple["asyncio.Future[None]", Callable[[], bool], float]


def tick_of(now: float) -> int:
    """Return which tick came last at `now`, of a monotonic clock."""
    return int(now / TICK_SECONDS)


def until_tick(now: float) -> float:
    """Return the seconds until the next tick has come for sure."""
    return (tick_of(now) + 1) * TICK_SECONDS - now + _EARLY_SECONDS


def left_out(late: float) -> int:
    """Return how many ticks are left out before the next one, by how many seconds the loop was late for the last."""
    return min(MOST_LEFT_OUT, max(0, int(late / TICK_SECONDS)))


class Ticks:
    """Waits for ticks, for many at once: one timer, whoever of them leaves."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: list[_Wait] = []
        self._rests_until = 0.0
        self._ticking: asyncio.Task[None] | None = None

    def wait(self, has_come: Callable[[], bool], until: float = math.inf) -> asyncio.Future[None]:
        """Return what is done with the first tick at which `has_come` says so, or that comes after `until` (of the clock).

        Who is done with waiting before may set it. Where a `has_come` raises, all that wait are let go.

        It is asked at each tick: that is less than to wake who waits for a piece, and to have it wait for the tick then.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((future, has_come, until))
        if self._ticking is None:
            self._ticking = asyncio.create_task(self._tick(), name="ticks of streamed answers")
        return future

    async def _tick(self) -> None:
        try:
            while self._waiting:
                now = self._clock.monotonic()
                begin = max(now, self._rests_until)
                due = begin + until_tick(begin)
                await self._clock.sleep(due - now)
                now = self._clock.monotonic()
                self._rests_until = now + left_out(now - due) * TICK_SECONDS
                self._waiting = [each for each in self._waiting if not _is_over(*each, now)]
        finally:
            self._ticking = None
            # Where it fails, or is ended: nobody is to wait for a tick that does not come.
            left, self._waiting = self._waiting, []
            for future, _, _ in left:
                if not future.done():
                    future.set_result(None)


def _is_over(future: asyncio.Future[None], has_come: Callable[[], bool], until: float, now: float) -> bool:
    if not future.done() and (has_come() or now >= until):
        future.set_result(None)
    return future.done()
