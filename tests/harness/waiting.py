"""Waiting for conditions, with one deadline. The only file under tests/ that may let real time pass.

A test never sleeps and hopes: it names the condition that it waits for, and fails with what it saw last.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, TypeVar, overload

from core.deadline import end_tasks

T = TypeVar("T")

# Short against anything that is waited for, long against the cost of asking.
POLL_SECONDS = 0.005
# What takes longer is asked about less often, by a share of the time that it has taken: it is found out so much later at most.
SHARE, MOST_POLL_SECONDS = 0.02, 0.05
LAST_SECONDS = 5.0
# For what takes a moment where the machine has time: a wait that ends in a failure may be long, one that succeeds is not.
PATIENCE_SECONDS = 30.0
# What finishes what it has under way takes no longer.
END_SECONDS = 30.0


@overload
async def eventually(
    condition: Callable[[], Awaitable[T | None]],
    *,
    within: float = ...,
    every: float = ...,
    retry_on: tuple[type[BaseException], ...] = ...,
    what: str = ...,
) -> T: ...


@overload
async def eventually(
    condition: Callable[[], T | None],
    *,
    within: float = ...,
    every: float = ...,
    retry_on: tuple[type[BaseException], ...] = ...,
    what: str = ...,
) -> T: ...


async def eventually(
    condition: Callable[[], Any],
    *,
    within: float = PATIENCE_SECONDS,
    every: float = POLL_SECONDS,
    retry_on: tuple[type[BaseException], ...] = (AssertionError,),
    what: str = "",
) -> Any:
    """Return the first truthy value of `condition`, asked again every few milliseconds, later on every 50; with 0 always at once.

    An exception of `retry_on` counts as "not yet", as does an answer that takes too long; any other leaves at once.
    Raises AssertionError after `within` seconds with the last value or exception, and with `what` was waited for.
    """
    began = time.monotonic()
    deadline = began + within
    while True:
        # What is asked last has a moment too.
        timer = asyncio.timeout(max(deadline - time.monotonic(), LAST_SECONDS))
        try:
            async with timer:
                seen = condition()
                if isawaitable(seen):
                    seen = await seen
            if seen:
                return seen
        except retry_on as error:
            seen = error
        except TimeoutError as error:
            if not timer.expired():
                raise
            seen = error
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {within} s: {what or _name_of(condition)}; last seen: {seen!r}")
        await asyncio.sleep(_pause(every, began))


def wait_until(
    condition: Callable[[], T],
    *,
    within: float = PATIENCE_SECONDS,
    every: float = POLL_SECONDS,
    retry_on: tuple[type[BaseException], ...] = (),
    what: str = "",
) -> T:
    """Do as `eventually` does, for fixtures that run outside an event loop."""
    began = time.monotonic()
    deadline = began + within
    while True:
        seen: object
        try:
            value = condition()
            if value:
                return value
            seen = value
        except retry_on as error:
            seen = error
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {within} s: {what or _name_of(condition)}; last seen: {seen!r}")
        time.sleep(_pause(every, began))


def _pause(every: float, began: float) -> float:
    return every and max(every, min(MOST_POLL_SECONDS, SHARE * (time.monotonic() - began)))


async def cancelled(task: "asyncio.Task[Any]") -> None:
    """End a task of a client's, and raise what it ended by before.

    It is cancelled until it has: a cancellation can get lost in a client's library, in the moment in which a connection is made
    or lost, and whoever comes again upon every loss would then go on for ever.
    """
    await end_tasks([task], again=0.5)
    if not task.cancelled():
        task.result()


async def let_pass(seconds: float) -> None:
    """Let real time pass: for faults that are made of time, such as a slow link; never for a test's own waiting."""
    await asyncio.sleep(seconds)


def _name_of(condition: Callable[..., object]) -> str:
    return getattr(condition, "__qualname__", repr(condition))
