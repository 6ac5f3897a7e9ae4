"""The ring holds the latest entries, bounded by count and size."""

import random

from core.events.event import Entry
from rooms.ring import Ring


def entries(first: int, last: int, size: int = 1) -> list[Entry]:
    return [Entry(position, "agents", "x" * size) for position in range(first, last + 1)]


def test_empty_ring_answers_only_for_its_end():
    ring = Ring(10)
    assert ring.since(10) == []
    assert ring.since(11) == []
    assert ring.since(9) is None


def test_oldest_go_beyond_the_count():
    ring = Ring(0, max_entries=5)
    ring.extend(entries(1, 8))
    assert ring.since(3) == entries(4, 8)
    assert ring.since(2) is None
    assert ring.last == 8


def test_oldest_go_beyond_the_size():
    ring = Ring(0, max_size=10)
    ring.extend(entries(1, 4, size=3))
    assert ring.since(1) == entries(2, 4, size=3)
    assert ring.since(0) is None


def test_entry_over_the_size_leaves_an_empty_ring_that_goes_on():
    ring = Ring(0, max_size=10)
    ring.extend(entries(1, 1, size=11))
    assert ring.last == 1
    assert ring.since(1) == []
    assert ring.since(0) is None
    ring.extend(entries(2, 2))
    assert ring.since(1) == entries(2, 2)


def test_any_sequence_of_batches_answers_as_a_list_would():
    rng = random.Random(7)
    ring = Ring(0, max_entries=50)
    for _ in range(300):
        ring.extend(entries(ring.last + 1, ring.last + rng.randrange(0, 20)))
        after = max(0, ring.last - rng.randrange(0, 60))
        expected = entries(after + 1, ring.last) if ring.last - after <= min(50, ring.last) else None
        assert ring.since(after) == expected
