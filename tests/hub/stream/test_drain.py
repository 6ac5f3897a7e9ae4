"""How a stopping node sends its sockets away: the rate that the others see, and the deadline."""

import asyncio

import pytest

from hub.stream.drain import MAX_SLOT_SECONDS, TICK_SECONDS, send_away
from tests.harness.clock import ManualClock


class Leaving:
    """A socket that notes when it was told, and when its client will be back."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.told_at: list[float] = []
        self.back_at = 0.0

    def announce_restart(self, after_ms: int) -> None:
        self.told_at.append(self._clock.monotonic())
        self.back_at = self._clock.monotonic() + after_ms / 1000


async def drained(clock: ManualClock, count: int, rate: float, seconds: float) -> tuple[list[Leaving], float]:
    """Drain `count` sockets; return them, and when it began."""
    sockets, began = [Leaving(clock) for _ in range(count)], clock.monotonic()
    work = asyncio.create_task(send_away(sockets, rate=rate, clock=clock, deadline=began + seconds))
    while not work.done():
        await clock.advance(TICK_SECONDS)
    await work
    assert all(len(each.told_at) == 1 for each in sockets)
    return sockets, began


def peak(moments: list[float]) -> int:
    """Return the most returns within any one second."""
    return max(sum(start <= moment < start + 1 for moment in moments) for start in moments)


@pytest.mark.parametrize(("count", "rate", "seconds"), [(2_000, 500, 10), (2_000, 500, 0), (300, 50, 3), (1, 500, 10)])
async def test_others_never_see_more_than_the_rate(clock: ManualClock, count: int, rate: int, seconds: float):
    """Within the deadline by being told late, beyond it by waiting: the returns are spread the same."""
    sockets, _ = await drained(clock, count, rate, seconds)
    assert peak([each.back_at for each in sockets]) <= rate


class Overslept(ManualClock):
    """A clock of a node that stands still now and then: every tenth sleep takes half a second more."""

    def __init__(self) -> None:
        super().__init__()
        self._sleeps = 0

    async def sleep(self, seconds: float) -> None:
        self._sleeps += 1
        await super().sleep(seconds + (0 if self._sleeps % 10 else 0.5))


async def test_node_that_stood_still_does_not_make_up_for_it():
    """Those whose turn it has slept through come one after the other as well."""
    sockets, _ = await drained(Overslept(), 1_000, 200, 60)
    assert peak([each.back_at for each in sockets]) <= 200


async def test_socket_is_served_until_its_turn(clock: ManualClock):
    """Nobody waits outside for longer than a tick while the node has time."""
    sockets, _ = await drained(clock, 2_000, 500, 10)
    assert max(each.back_at - each.told_at[0] for each in sockets) <= TICK_SECONDS + 0.001


async def test_all_are_told_in_time_for_the_deadline(clock: ManualClock):
    """What has no turn before the deadline is told before it, with the time to wait; nobody waits for ever."""
    sockets, began = await drained(clock, 3_000, 10, 4)
    assert max(each.told_at[0] for each in sockets) <= began + 3 + TICK_SECONDS
    assert max(each.back_at for each in sockets) <= began + 3 + TICK_SECONDS + MAX_SLOT_SECONDS


async def test_node_without_sockets_stops_at_once(clock: ManualClock):
    """There is nothing to wait for."""
    await send_away([], rate=500, clock=clock, deadline=clock.monotonic() + 10)
    assert clock.sleeping == 0
