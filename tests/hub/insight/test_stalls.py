"""A loop that stands still is told of, with what it was doing."""

import asyncio
import time

from structlog.testing import capture_logs

from core.clock import SystemClock
from hub.insight.stalls import Stalls
from tests.harness.waiting import eventually


def hold_the_loop_until(is_over: list[object], seconds: float) -> None:
    """Work without a break, as something that should not be on the loop does."""
    until = time.monotonic() + seconds
    while not is_over and time.monotonic() < until:
        sum(range(1000))


async def test_stall_is_told_once_with_its_stack():
    """While it lasts, not after it; a loop that turns is not told of."""
    with capture_logs() as told, Stalls(SystemClock()).watched():
        await eventually(lambda: True)
        assert told == []
        hold_the_loop_until(told, 5.0)  # pyright: ignore[reportArgumentType] - it looks whether there is something
        assert len(told) == 1
        hold_the_loop_until([], 0.3)
        await asyncio.sleep(0)
    (line,) = told
    assert line["event"] == "loop_stands_still"
    assert line["seconds"] >= 0.25
    assert "hold_the_loop_until" in line["stack"]
