"""Ticks of streamed answers: many wait for one, and who leaves takes nobody with it."""

import gc

import pytest

from handlers.models.ticks import MOST_LEFT_OUT, TICK_SECONDS, Ticks, left_out, tick_of, until_tick
from tests.harness.clock import ManualClock

# What a tick is waited for at most: it has come for sure then.
LONG = 2 * TICK_SECONDS


def _come() -> bool:
    return True


def test_who_has_waited_is_behind_the_tick():
    """Also where the loop wakes it a millisecond early, which uvloop's timers do."""
    for now in (1000.0, 1000.0001, 1000.0124, 1000.0249, 1000.02499999, 12345.678):
        assert 0 < until_tick(now) < LONG
        assert tick_of(now + until_tick(now) - 0.001) == tick_of(now) + 1


def test_late_loop_has_fewer_ticks():
    """By as many as it was late, within a bound; one that is nearly in time, or early, by none."""
    assert [left_out(late * TICK_SECONDS) for late in (-0.1, 0, 0.9, 1.1, 2.1, 50)] == [0, 0, 0, 1, 2, MOST_LEFT_OUT]


async def test_many_wait_for_one_tick(clock: ManualClock):
    """By one timer; who comes later in the same tick is woken with the first."""
    ticks = Ticks(clock)
    waiting = [ticks.wait(_come) for _ in range(50)]
    await clock.advance(TICK_SECONDS / 2)
    waiting += [ticks.wait(_come) for _ in range(50)]
    await clock.settle()
    assert clock.sleeping == 1
    assert not any(each.done() for each in waiting)
    await clock.advance(TICK_SECONDS)
    assert all(each.done() for each in waiting)


async def test_next_tick_is_another(clock: ManualClock):
    """Each wait is for a tick that comes after it; where nobody waits, there is no timer."""
    ticks = Ticks(clock)
    for _ in range(3):
        waiting = ticks.wait(_come)
        await clock.settle()
        assert not waiting.done()
        await clock.advance(LONG)
        assert waiting.done()
    assert clock.sleeping == 0


async def test_who_leaves_leaves_alone(clock: ManualClock):
    """The first, whose wait has begun the timer, and one in the middle; the others are woken."""
    ticks = Ticks(clock)
    waiting = [ticks.wait(_come) for _ in range(5)]
    await clock.settle()
    for each in (waiting[0], waiting[2]):
        each.cancel()
    await clock.advance(LONG)
    assert [each.cancelled() for each in waiting] == [True, False, True, False, False]
    assert all(each.done() for each in waiting)


async def test_all_leave(clock: ManualClock):
    """Who comes then waits for a tick as ever."""
    ticks = Ticks(clock)
    waiting = [ticks.wait(_come) for _ in range(3)]
    await clock.settle()
    for each in waiting:
        each.cancel()
    late = ticks.wait(_come)
    await clock.settle()
    assert not late.done()
    await clock.advance(LONG)
    assert late.done()


async def test_tick_that_brings_nothing_wakes_nobody(clock: ManualClock):
    """Who waits is asked at each; who has waited long enough may say so."""
    ticks, come = Ticks(clock), [False, False]
    first, second = ticks.wait(lambda: come[0]), ticks.wait(lambda: come[1])
    for _ in range(3):
        await clock.advance(LONG)
    assert not first.done()
    come[0] = True
    await clock.settle()
    assert not first.done()
    await clock.advance(LONG)
    assert (first.done(), second.done()) == (True, False)
    second.set_result(None)
    await clock.advance(LONG)
    assert clock.sleeping == 0


async def test_ticks_that_fail_let_everybody_go(clock: ManualClock, caplog: pytest.LogCaptureFixture):
    """Nobody waits for a tick that does not come, the error is told, and who comes then waits for a tick as ever."""
    ticks = Ticks(clock)

    def broken() -> bool:
        raise ZeroDivisionError

    waiting = [ticks.wait(each) for each in (lambda: False, broken, lambda: False)]
    waiting[2].cancel()
    await clock.advance(LONG)
    assert [each.done() for each in waiting] == [True] * 3
    gc.collect()
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]
    late = ticks.wait(_come)
    await clock.advance(LONG)
    assert late.done()
    assert clock.sleeping == 0
