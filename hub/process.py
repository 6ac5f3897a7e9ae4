"""What a process of a hub has once, however many nodes a test may run in it: its collector, and a look at its loop."""

from collections.abc import Generator
from contextlib import contextmanager

from core.clock import Clock
from hub.collector import Collector
from hub.insight.stalls import Stalls


class Process:
    """`pauses` are the collector's, by generation; they are counted while the process is `watched`."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._collector = Collector(clock)
        self.pauses = self._collector.pauses

    @contextmanager
    def watched(self) -> Generator[None]:
        """Tune the collector, and tell the log of what holds the loop up."""
        with self._collector.tuned(), Stalls(self.clock).watched():
            yield
