"""How late the event loop is: what every socket of the node waits for beside its own work."""

from collections import deque
from statistics import median

from core.clock import Clock
from core.histogram import Histogram

TICK_SECONDS = 0.1
# A pause of the garbage collector is one of them: what counts as too much to do is late again and again.
TICKS = 11


class LoopLag:
    """A task that asks to be woken every 100 ms and notes how much later it is. `run` works until cancelled."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.histogram = Histogram()
        self._latest = deque[float](maxlen=TICKS)

    @property
    def recent(self) -> float:
        """How late it was in the last second, in the middle of all looks; 0 before there were enough of them."""
        return median(self._latest) if len(self._latest) == TICKS else 0.0

    async def run(self) -> None:
        """Measure."""
        while True:
            due = self._clock.monotonic() + TICK_SECONDS
            await self._clock.sleep(TICK_SECONDS)
            late = max(0.0, self._clock.monotonic() - due)
            self.histogram.add(late)
            self._latest.append(late)
