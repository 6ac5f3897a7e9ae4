"""The pace of handshakes: alone, then over sockets."""

import asyncio

from websockets.exceptions import InvalidStatus

from core.errors import HubError
from hub.stream.counts import StreamCounts
from hub.stream.gate import Gate
from hub.stream.settings import StreamSettings
from tests.harness.clock import ManualClock
from tests.harness.waiting import eventually
from tests.hub.stream.node import Node, serve


async def test_so_many_go_on_in_a_turn_in_their_order(clock: ManualClock):
    """The others wait, and come in theirs."""
    gate = Gate(clock, StreamCounts(), per_turn=3, most=100, rate=10)
    entered: list[int] = []

    async def come(number: int) -> None:
        await gate.enter()
        entered.append(number)

    coming = [asyncio.ensure_future(come(number)) for number in range(10)]
    sizes: list[int] = []
    while not all(each.done() for each in coming):
        await asyncio.sleep(0)
        sizes.append(len(entered))
    assert entered == list(range(10))
    assert max(after - before for before, after in zip([0, *sizes], sizes, strict=False)) <= 3


async def test_too_many_are_refused_at_once_with_later_and_later_slots(clock: ManualClock):
    """Eight a second come back, not before those that wait are in; what was refused long ago counts no more."""
    counts = StreamCounts()
    gate = Gate(clock, counts, per_turn=1, most=2, rate=8)
    coming = [asyncio.ensure_future(gate.enter()) for _ in range(24)]
    outcomes = await asyncio.gather(*coming, return_exceptions=True)
    refused = [each for each in outcomes if isinstance(each, HubError)]
    assert [each.retry_after for each in refused] == [1] * 8 + [2] * 8 + [3] * 5
    assert (counts.handshakes_refused, counts.handshakes_waiting) == (21, 0)
    await gate.enter()
    await clock.advance(10)
    again = await asyncio.gather(*(gate.enter() for _ in range(4)), return_exceptions=True)
    assert [each.retry_after for each in again if isinstance(each, HubError)] == [1]


async def test_one_that_went_while_it_waited_takes_nobodys_turn(clock: ManualClock):
    """Cancelled, it is passed over."""
    gate = Gate(clock, StreamCounts(), per_turn=1, most=10, rate=10)
    first, second, third = [asyncio.ensure_future(gate.enter()) for _ in range(3)]
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait_for(asyncio.gather(first, third), 5)
    assert second.cancelled()


async def _status(node: Node, key: str) -> tuple[int, str | None]:
    try:
        async with node.open(key) as client:
            await client.receive()
            return 101, None
    except InvalidStatus as refused:
        return refused.response.status_code, refused.response.headers.get("Retry-After")


async def test_storm_is_served_or_refused_and_whoever_comes_back_is_served(
    database_url: str, redis_url: str, clock: ManualClock, key: str
):
    """Nothing between the two: no handshake hangs, none fails otherwise."""
    settings = StreamSettings(handshakes_per_turn=1, handshakes_waiting=1)
    async with serve(database_url, redis_url, clock, settings=settings) as node:
        outcomes = await asyncio.gather(*(_status(node, key) for _ in range(40)))
        refused = [slot for status, slot in outcomes if status == 503]
        assert {status for status, _ in outcomes} <= {101, 503}
        assert all(slot is not None and int(slot) >= 1 for slot in refused)
        assert node.door.counts.handshakes_refused == len(refused)
        for _ in refused:
            assert (await _status(node, key))[0] == 101
        await eventually(lambda: node.door.connections == 0)
