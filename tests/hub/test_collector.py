"""The garbage collector of a process: short stops for what lives long, and nothing that stays for ever."""

import gc
import weakref

from core.clock import SystemClock
from hub.collector import SPARE_OBJECTS, Collector


class Ring:
    """Refers to itself: its count of references never comes to nothing."""

    def __init__(self) -> None:
        self.me = self


def test_what_lives_long_is_looked_at_once():
    """A full collection sees what was made since the last one, not all there is."""
    collector = Collector(SystemClock())
    with collector.tuned():
        kept = [[each] for each in range(SPARE_OBJECTS // 2)]
        gc.collect()
        assert gc.get_freeze_count() > len(kept)
        assert len(gc.get_objects(2)) < len(kept) / 10
        assert sum(collector.pauses["2"].counts) >= 1
        assert collector.pauses["2"].total > 0
    assert gc.get_freeze_count() == 0


def test_ring_that_was_frozen_is_collected_when_as_much_has_come():
    """It waits, but not for ever; what is in use stays."""
    with Collector(SystemClock()).tuned():
        ring = Ring()
        gone = weakref.ref(ring)
        gc.collect()
        del ring
        gc.collect()
        assert gone() is not None, "frozen while it was in use"
        kept: list[list[int]] = []
        while gone() is not None:
            kept += [[each] for each in range(SPARE_OBJECTS)]
            assert len(kept) < 50 * SPARE_OBJECTS
            gc.collect()
        assert kept[-1] == [SPARE_OBJECTS - 1]


def test_the_interpreter_is_left_as_it_was():
    """Two hubs in a test's process must not notice each other's."""
    before = gc.get_threshold(), list(gc.callbacks)
    with Collector(SystemClock()).tuned():
        assert gc.get_threshold() != before[0]
    assert (gc.get_threshold(), list(gc.callbacks)) == before
