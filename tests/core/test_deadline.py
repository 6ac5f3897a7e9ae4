"""Waiting with a bound, on the injected clock."""

import asyncio
import contextlib
import gc
from collections.abc import Coroutine
from typing import Any

import pytest
from structlog.testing import capture_logs

from core.deadline import CANCELS, Patience, end_tasks, ended_within, first_of, within
from tests.harness.clock import ManualClock


async def test_ended_within_tells_which_came_first(clock: ManualClock):
    """The future in time, or the bound; the future is left alone."""
    future = asyncio.get_running_loop().create_future()
    waiting = asyncio.ensure_future(ended_within(clock, 2, future))
    await clock.advance(2)
    assert await waiting is False
    assert not future.done()
    waiting = asyncio.ensure_future(ended_within(clock, 2, future))
    await clock.advance(1)
    future.set_result(None)
    assert await waiting is True
    await clock.settle()
    assert clock.sleeping == 0, "no sleeper is left behind"


async def test_within_returns_raises_or_gives_up(clock: ManualClock):
    """The work's result, its exception, or TimeoutError with the work cancelled."""

    async def broken() -> None:
        raise ZeroDivisionError

    async def three() -> int:
        return 3

    ended = False

    async def endless() -> None:
        nonlocal ended
        try:
            await asyncio.Event().wait()
        finally:
            ended = True

    assert await within(clock, 1, three()) == 3
    with pytest.raises(ZeroDivisionError):
        await within(clock, 1, broken())
    waiting = asyncio.ensure_future(within(clock, 1, endless()))
    await clock.advance(1)
    with pytest.raises(TimeoutError):
        await waiting
    await clock.settle()
    assert ended


async def test_first_of_ends_the_others(clock: ManualClock, caplog: pytest.LogCaptureFixture):
    """The first that ends decides, with a result or an error; the others have ended before it is told, whatever they end with."""
    ended: list[str] = []

    async def after(seconds: float, result: str, *, at_the_end: Exception | None = None) -> str:
        try:
            await clock.sleep(seconds)
        finally:
            ended.append(result)
            if at_the_end is not None:
                raise at_the_end
        return result

    async def of_three(*works: Coroutine[Any, Any, str]) -> str:
        ended.clear()
        racing = asyncio.create_task(first_of(*works))
        await clock.advance(1)
        try:
            return await racing
        finally:
            assert len(ended) == len(works)

    assert await of_three(after(5, "slow"), after(1, "quick"), after(9, "slower", at_the_end=ValueError())) == "quick"
    with pytest.raises(ZeroDivisionError):
        await of_three(after(1, "quick", at_the_end=ZeroDivisionError()), after(1, "as quick", at_the_end=ValueError()))
    assert await of_three(after(1, "first"), after(1, "second")) == "first"
    gc.collect()
    assert not caplog.records, "nobody has to ask the others"


async def test_first_of_that_is_cancelled_ends_all(clock: ManualClock):
    racing = asyncio.create_task(first_of(clock.sleep(5), clock.sleep(6)))
    await clock.settle()
    assert clock.sleeping == 2
    racing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await racing
    assert clock.sleeping == 0


async def test_a_cancellation_that_gets_lost_is_repeated():
    """Whoever swallows the first ones is ended all the same; one that fails, or has ended, holds nobody up."""
    lost = 0

    async def stubborn() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                lost += 1
                if lost == 3:
                    raise

    async def failing() -> None:
        raise OSError

    tasks = [asyncio.create_task(work) for work in (stubborn(), failing(), asyncio.sleep(0))]
    await asyncio.sleep(0)
    await asyncio.wait_for(end_tasks(tasks, again=0.01), 10)
    assert lost == 3
    assert all(task.done() for task in tasks)
    assert isinstance(tasks[1].exception(), OSError)


async def test_what_swallows_every_cancellation_is_left_behind_and_logged():
    """A node that is to stop does not wait for it."""
    let_go = asyncio.Event()

    async def deaf() -> None:
        while not let_go.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await let_go.wait()

    task = asyncio.create_task(deaf(), name="deaf")
    await asyncio.sleep(0)
    with capture_logs() as log:
        await asyncio.wait_for(end_tasks([task], again=0.01), 10)
    assert [(entry["event"], entry["task"]) for entry in log] == [("cancelled_task_goes_on", "deaf")]
    assert task.cancelling() == CANCELS
    let_go.set()
    await task


async def test_patience_is_had_again_with_each_wait():
    """What is in time returns, or raises as it does; what is not is cancelled; and the next one has all of it."""
    patience, hung = Patience(0.05), asyncio.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            hung.set()

    async def broken() -> None:
        raise ZeroDivisionError

    assert await patience.wait(asyncio.sleep(0, 3)) == 3
    with pytest.raises(ZeroDivisionError):
        await patience.wait(broken())
    for _ in range(2):
        hung.clear()
        with pytest.raises(TimeoutError):
            await patience.wait(hang())
        assert hung.is_set()
        assert await patience.wait(asyncio.sleep(0, 3)) == 3


async def test_who_is_cancelled_while_patient_ends():
    """Also where patience is lost in the same turn."""
    for is_lost in (False, True):
        patience = Patience(0.0 if is_lost else 5)
        waiting = asyncio.ensure_future(patience.wait(asyncio.Event().wait()))
        await asyncio.sleep(0)
        if is_lost:
            asyncio.get_running_loop().call_later(0, waiting.cancel)
        else:
            waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_lost_patience_leaves_no_cancellation_behind():
    """Whatever the work makes of its own: a value, another error. That of others stays counted."""

    async def valued() -> int:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return 3
        return 0

    async def translated() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ZeroDivisionError from None

    task = asyncio.current_task()
    assert task is not None
    patience = Patience(0.0)
    assert await patience.wait(valued()) == 3
    assert task.cancelling() == 0
    with pytest.raises(ZeroDivisionError):
        await patience.wait(translated())
    assert task.cancelling() == 0
    with pytest.raises(TimeoutError):
        await patience.wait(asyncio.Event().wait())
    assert task.cancelling() == 0

    async def cancelled_as_well() -> int:
        asyncio.get_running_loop().call_later(0, task.cancel)
        return await valued()

    assert await patience.wait(cancelled_as_well()) == 3
    assert task.cancelling() == 1
    task.uncancel()
