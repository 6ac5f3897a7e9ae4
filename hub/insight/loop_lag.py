"""How late the event loop is: what every socket of the node waits for beside its own work."""

from core.clock import Clock
from core.histogram import Histogram

TICK_SECONDS = 0.1


class LoopLag:
    """A task that asks to be woken every 100 ms and notes how much later it is. `run` works until cancelled."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.histogram = Histogram()

    async def run(self) -> None:
        """Measure."""
        while True:
            due = self._clock.monotonic() + TICK_SECONDS
            await self._clock.sleep(TICK_SECONDS)
            self.histogram.add(max(0.0, self._clock.monotonic() - due))
