"""What is given up, and in which order; how it comes back."""

import random
from itertools import pairwise

import pytest

from core.errors import HubError
from core.pressure import RETRY_SECONDS, RETRY_SPREAD_SECONDS, Calm, Part, Pressure, Scale
from tests.harness.clock import ManualClock

SCALES = {"a": Scale((0.2, 0.4, 0.6, 1.0, 2.0)), "b": Scale((0.5, 0.6, 0.7, 1.0, float("inf")))}
ORDER = [Part.DEBUG, Part.PRESENCE, Part.LATEST, Part.JOINS, Part.PUBLISHES]


def given_up(pressure: Pressure) -> list[Part]:
    return [part for part in ORDER if pressure.gives_up(part)]


@pytest.fixture
def pressure(clock: ManualClock) -> Pressure:
    return Pressure(clock, SCALES, hold=2.0, random=random.Random(1))


@pytest.mark.parametrize(
    ("value", "count"), [(0.0, 0), (0.19, 0), (0.2, 1), (0.4, 2), (0.6, 3), (0.99, 3), (1.0, 4), (1.9, 4), (2.0, 5)]
)
def test_parts_are_given_up_in_their_order(pressure: Pressure, value: float, count: int):
    """Debug, presence, latest, joins, publishes; whoever reads the log is in no part."""
    assert pressure.look({"a": value, "b": 0.0}) is (count > 0)
    assert given_up(pressure) == ORDER[:count]


def test_worst_measure_counts_and_some_never_end_publishes(pressure: Pressure):
    """Slow readers, say, end nobody's publishes."""
    pressure.look({"a": 0.2, "b": 100.0})
    assert given_up(pressure) == ORDER[:4]


async def test_it_rises_at_once_and_falls_a_part_at_a_time(pressure: Pressure, clock: ManualClock):
    """Each part brings its work back with it, which is waited for."""
    pressure.look({"a": 5.0, "b": 0.0})
    seen = [len(given_up(pressure))]
    for _ in range(120):
        await clock.advance(0.1)
        pressure.look({"a": 0.0, "b": 0.0})
        seen.append(len(given_up(pressure)))
    assert [each for each, later in pairwise(seen) if later != each] == [5, 4, 3, 2, 1]
    falls = [at for at, (before, after) in enumerate(pairwise(seen)) if after < before]
    assert all(19 <= later - sooner <= 21 for sooner, later in pairwise(falls))
    assert pressure.entered == {Part.NONE: 0, **dict.fromkeys(ORDER, 1)}


async def test_what_swings_around_a_mark_changes_nothing(pressure: Pressure, clock: ManualClock):
    """A part comes back only well below where it went."""
    pressure.look({"a": 1.0, "b": 0.0})
    for number in range(200):
        await clock.advance(0.1)
        assert not pressure.look({"a": 0.95 if number % 2 else 0.75, "b": 0.0})
    assert pressure.entered[Part.JOINS] == 1


async def test_ease_that_does_not_last_counts_from_anew(pressure: Pressure, clock: ManualClock):
    """Only `hold` seconds without interruption do."""
    pressure.look({"a": 1.0, "b": 0.0})
    for _ in range(10):
        for value in (0.0, 0.0, 0.9):
            await clock.advance(0.9)
            pressure.look({"a": value, "b": 0.0})
    assert pressure.gives_up(Part.JOINS)


async def test_clock_of_the_wall_means_nothing(pressure: Pressure, clock: ManualClock):
    """An administrator sets it a day on, or back."""
    pressure.look({"a": 1.0, "b": 0.0})
    clock.jump(86400)
    assert not pressure.look({"a": 0.0, "b": 0.0})
    clock.jump(-2 * 86400)
    assert not pressure.look({"a": 0.0, "b": 0.0})


def test_refusals_say_when_to_come_each_at_another_time(pressure: Pressure):
    """SERVICE_UNAVAILABLE, which every client of the stream waits upon."""
    pressure.check(Part.JOINS)
    pressure.look({"a": 1.0, "b": 0.0})
    times: set[int | None] = set()
    for _ in range(200):
        with pytest.raises(HubError) as refused:
            pressure.check(Part.JOINS)
        assert refused.value.code == "SERVICE_UNAVAILABLE"
        times.add(refused.value.retry_after)
    assert times == set(range(RETRY_SECONDS, RETRY_SECONDS + RETRY_SPREAD_SECONDS + 1))
    assert pressure.refused[Part.JOINS] == 200
    pressure.check(Part.PUBLISHES)


def test_random_walks_keep_the_order(clock: ManualClock):
    """Whatever is measured: a part is never given up before one that stands before it. The seed is printed."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    pressure = Pressure(clock, SCALES, hold=0.0)
    for _ in range(2000):
        before = pressure.level
        pressure.look({"a": rng.expovariate(1), "b": rng.expovariate(1)})
        assert given_up(pressure) == ORDER[: pressure.level]
        assert pressure.level >= before - 1


def test_calm_gives_nothing_up():
    """It stands in tools and tests that know no pressure."""
    for part in ORDER:
        assert not Calm().gives_up(part)
        Calm().check(part)
