"""Ticks of streamed answers: many wait for one, and who leaves takes nobody with it."""

import asyncio

from handlers.models.ticks import TICK_SECONDS, Ticks, tick_of, until_tick
from tests.harness.clock import ManualClock
from tests.harness.waiting import cancelled

# What a tick is waited for at most: it has come for sure then.
LONG = 2 * TICK_SECONDS


def test_who_has_waited_is_behind_the_tick():
    """Also where the loop wakes it a millisecond early, which uvloop's timers do."""
    for now in (1000.0, 1000.0001, 1000.0124, 1000.0249, 1000.02499999, 12345.678):
        assert 0 < until_tick(now) < LONG
        assert tick_of(now + until_tick(now) - 0.001) == tick_of(now) + 1


async def test_many_wait_for_one_tick(clock: ManualClock):
    """By one timer; who comes later in the same tick is woken with the first."""
    ticks = Ticks(clock)
    waiting = [asyncio.create_task(ticks.next()) for _ in range(50)]
    await clock.advance(TICK_SECONDS / 2)
    waiting += [asyncio.create_task(ticks.next()) for _ in range(50)]
    await clock.settle()
    assert clock.sleeping == 1
    assert not any(each.done() for each in waiting)
    await clock.advance(TICK_SECONDS)
    assert all(each.done() for each in waiting)


async def test_next_tick_is_another(clock: ManualClock):
    """Each wait is for a tick that comes after it; where nobody waits, there is no timer."""
    ticks = Ticks(clock)
    for _ in range(3):
        waiting = asyncio.create_task(ticks.next())
        await clock.settle()
        assert not waiting.done()
        await clock.advance(LONG)
        assert waiting.done()
    assert clock.sleeping == 0


async def test_who_leaves_leaves_alone(clock: ManualClock):
    """The first, whose wait has begun the timer, and one in the middle; the others are woken."""
    ticks = Ticks(clock)
    waiting = [asyncio.create_task(ticks.next()) for _ in range(5)]
    await clock.settle()
    for each in (waiting[0], waiting[2]):
        await cancelled(each)
    await clock.advance(LONG)
    assert [each.cancelled() for each in waiting] == [True, False, True, False, False]
    assert all(each.done() for each in waiting)


async def test_all_leave(clock: ManualClock):
    """Who comes then waits for a tick as ever."""
    ticks = Ticks(clock)
    waiting = [asyncio.create_task(ticks.next()) for _ in range(3)]
    await clock.settle()
    for each in waiting:
        await cancelled(each)
    late = asyncio.create_task(ticks.next())
    await clock.settle()
    assert not late.done()
    await clock.advance(LONG)
    assert late.done()
