"""Python's garbage collector, set for a process that holds many long-lived objects. It is the process's, not a node's.

A full collection looks at every object: with eight thousand sockets that is a stop of a quarter of a second to a second. So what
a collection has found to be in use is frozen, and not looked at again by the next. What is frozen is still freed by its reference
count, as most things are; only rings of objects that become garbage later stay. Therefore all is thawed and looked at once more
when what is frozen has doubled: a process that only holds what it holds never comes to that.
"""

import gc
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, NoReturn

from core.clock import Clock
from core.histogram import Histogram

BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
# Objects made before the young ones are looked at; how often that is done before the older ones are, twice. About one, ten and
# thirty milliseconds.
THRESHOLDS = (5_000, 5, 2)
# So much more than double is let grow first: small processes need no second look.
SPARE_OBJECTS = 100_000


@contextmanager
def reading() -> Generator[None]:
    """Import without looking for garbage in what is read, now or later: a third of what a short command takes is that."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def leave(code: int) -> NoReturn:
    """End the process, without a last look for garbage in all that there is. Raises SystemExit."""
    gc.freeze()
    sys.exit(code)


class Collector:
    """`pauses` has a histogram for each generation."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = 0.0
        self._oldest = len(THRESHOLDS) - 1
        self._thaw_above = 0
        self._is_thawed = False
        self.pauses = {str(generation): Histogram(BOUNDS) for generation in range(len(THRESHOLDS))}

    @contextmanager
    def tuned(self) -> Generator[None]:
        """Freeze what the start has left, and collect this process's garbage with short stops, until the end of this context."""
        usual = gc.get_threshold()
        gc.collect()
        self._freeze_all()
        gc.set_threshold(*THRESHOLDS)
        gc.callbacks.append(self._note)
        try:
            yield
        finally:
            gc.callbacks.remove(self._note)
            gc.set_threshold(*usual)
            gc.unfreeze()

    def _note(self, phase: str, about: dict[str, Any]) -> None:
        if phase == "start":
            self._began = self._clock.monotonic()
            return
        generation = int(about["generation"])
        if generation == self._oldest:
            self._keep()
        self.pauses[str(generation)].add(self._clock.monotonic() - self._began)

    def _keep(self) -> None:
        """Freeze what a full collection has left, or thaw all for the next one."""
        if self._is_thawed:
            self._freeze_all()
            return
        gc.freeze()
        if gc.get_freeze_count() > self._thaw_above:
            gc.unfreeze()
            self._is_thawed = True

    def _freeze_all(self) -> None:
        gc.freeze()
        self._is_thawed = False
        self._thaw_above = 2 * gc.get_freeze_count() + SPARE_OBJECTS
