"""Waiting gives the value, or says what was seen."""

import asyncio
import itertools

import pytest

from tests.harness import waiting
from tests.harness.waiting import eventually, wait_until


async def test_eventually_returns_the_first_true_value():
    """Plain and awaitable conditions are both asked until they are true."""
    count = itertools.count()

    async def asked() -> int | None:
        return n if (n := next(count)) > 2 else None

    assert await eventually(lambda: next(count) > 1)
    assert await eventually(asked) == 3


async def test_eventually_names_what_it_saw_last():
    """A failure tells what was waited for and what there was instead."""
    with pytest.raises(AssertionError, match=r"the moon.*last seen: 0"):
        await eventually(lambda: 0, within=0.01, what="the moon")


async def test_eventually_lets_unexpected_exceptions_through():
    """Only what the caller expects counts as not yet."""
    with pytest.raises(ZeroDivisionError):
        await eventually(lambda: 1 / 0)
    with pytest.raises(AssertionError, match="division"):
        await eventually(lambda: 1 / 0, within=0.01, retry_on=(ZeroDivisionError,))


def test_wait_until_works_without_a_loop():
    """Session fixtures wait outside asyncio."""
    count = itertools.count()
    assert wait_until(lambda: next(count) == 3)


async def test_eventually_does_not_wait_for_a_condition_that_hangs(monkeypatch: pytest.MonkeyPatch):
    """The deadline holds for what is asked as well."""
    monkeypatch.setattr(waiting, "LAST_SECONDS", 0.01)
    with pytest.raises(AssertionError, match="the moon"):
        await eventually(asyncio.Event().wait, within=0.01, what="the moon")
