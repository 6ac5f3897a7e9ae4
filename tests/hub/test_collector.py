"""The garbage collector of a process: short stops for what lives long, and nothing that stays for ever."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from core.clock import SystemClock
from hub.collector import SPARE_OBJECTS, Collector, leave, reading


@pytest.fixture(scope="module", autouse=True)
def _freezes_again() -> Iterator[None]:
    """What these thaw is all that the run's process has read: see tests/conftest.py."""
    yield
    gc.collect()
    gc.freeze()


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


def test_what_is_read_is_not_looked_at():
    """Not while it is read, nor by a collection of later; then garbage is looked for as before."""
    with reading():
        assert not gc.isenabled()
        kept = [[each] for each in range(1_000)]
    assert gc.isenabled()
    gc.collect()
    assert gc.get_freeze_count() > len(kept)
    assert len(gc.get_objects(2)) < gc.get_freeze_count()


def test_end_of_a_process_looks_for_nothing():
    """It ends with the code that it was given."""
    with pytest.raises(SystemExit) as ended:
        leave(3)
    assert ended.value.code == 3
    assert gc.get_freeze_count() > 0
