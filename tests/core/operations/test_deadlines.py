"""A deadline ends its own work and no other, exactly as asyncio.timeout does."""

import asyncio

import pytest

from core.operations.deadlines import Deadlines


async def _forever(deadlines: Deadlines, seconds: float) -> None:
    with deadlines.within(seconds):
        await asyncio.Event().wait()


async def test_who_is_late_gets_timeout_error_and_the_others_go_on():
    """The shorter deadline is begun after the longer one, and comes first."""
    deadlines = Deadlines()
    long = asyncio.create_task(_forever(deadlines, 60))
    await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        await _forever(deadlines, 0.01)
    with pytest.raises(TimeoutError):
        await _forever(deadlines, 0.01)  # the timer is there again
    assert not long.done()
    long.cancel()
    with pytest.raises(asyncio.CancelledError):
        await long


async def test_one_that_is_over_does_no_harm_to_what_follows_in_its_task():
    """Its timer comes and finds nothing."""
    deadlines = Deadlines()
    with deadlines.within(0.0):
        pass
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_who_is_cancelled_by_somebody_else_too_stays_cancelled():
    """A deadline must not turn a cancellation into a TimeoutError that is answered."""
    deadlines = Deadlines()
    task = asyncio.create_task(_forever(deadlines, 0.0))
    for _ in range(100):
        if task.cancelling():
            break
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_fails_by_itself_at_the_end_keeps_its_error():
    """The cancellation that came with it is taken back."""
    deadlines = Deadlines()

    async def fails() -> None:
        with deadlines.within(0.0):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise ValueError("its own") from None

    with pytest.raises(ValueError, match="its own"):
        await fails()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
