"""What networks do between a client and the hub: late, slow, silent, half open. Nobody misses or doubles an event.

The node's clock runs ten times as fast, and its pings are short, so that what takes a minute in life takes some seconds here.
Where nobody shall be given up, the node is patient: else it would take a machine that stands still for a network that does.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from uuid import UUID

import pytest

from hub.stream.settings import StreamSettings
from tests.harness.hurried_clock import HurriedClock
from tests.harness.organisations import Organisation
from tests.harness.proxy import FaultProxies, FaultProxy
from tests.harness.stream_client import StreamReader
from tests.harness.waiting import eventually, let_pass
from tests.hub.stream.node import Node, serve

SPEED = 10.0
PING = 0.4
# Three seconds of the machine's, half an hour, and six seconds.
PONG, LONG_PONG, LONG_AGE = 30.0, 18_000.0, 60.0


@pytest.fixture
async def node(database_url: str, redis_url: str) -> AsyncIterator[Node]:
    """A node that has the stream alone."""
    settings = StreamSettings(ping=PING, pong=PONG)
    async with serve(database_url, redis_url, HurriedClock(SPEED), settings=settings) as made:
        yield made


@pytest.fixture
async def patient(database_url: str, redis_url: str) -> AsyncIterator[Node]:
    """A node that pings as often, and gives nobody up whose pong is late; who takes nothing is cut after some seconds."""
    settings = StreamSettings(ping=PING, pong=LONG_PONG, waiting_age=LONG_AGE)
    async with serve(database_url, redis_url, HurriedClock(SPEED), settings=settings) as made:
        yield made


@pytest.fixture
async def gate(node: Node, proxies: FaultProxies) -> FaultProxy:
    """The network before it."""
    return await proxies.open(node.url)


def reader_of(gate: FaultProxy, key: str, *, heartbeat: float = 30.0) -> StreamReader:
    """Return somebody who follows `agents` through the network."""
    return StreamReader([gate.url("ws") + "/v1/stream"], key, ["agents"], heartbeat=heartbeat)


async def has_exactly(reader: StreamReader, numbers: list[int], *, within: float = 60.0) -> None:
    """Wait until the last of `numbers` has come, and check that all have, once and in order."""

    def has_last() -> bool:
        return bool(reader.received) and reader.received[-1].event["data"]["number"] == numbers[-1]

    await eventually(has_last, within=within, what="the last event")
    assert [each.event["data"]["number"] for each in reader.received] == numbers
    assert not reader.problems
    assert not reader.resets


async def emit_apart(node: Node, org_id: UUID, times: int, *, padding: int = 0) -> list[int]:
    """Write some events, each in a transaction of its own."""
    return [number for _ in range(times) for number in await node.emit(org_id, padding=padding)]


async def test_late_pieces_arrive_in_order(patient: Node, proxies: FaultProxies, organisation: Organisation):
    """Delay is no reason to come again."""
    gate = await proxies.open(patient.url)
    async with reader_of(gate, await organisation.key()) as reader:
        await reader.joined()
        gate.connections[0].down.delay = 0.05
        numbers = await emit_apart(patient, organisation.id, 40)
        await has_exactly(reader, numbers)
        assert reader.connections == 1


@pytest.mark.parametrize("ways", ["down", "both"])
async def test_frozen_network_is_noticed_by_the_hub(
    ways: str, node: Node, gate: FaultProxy, organisation: Organisation
):
    """Its ping is not answered, so the socket goes; the client, who hears of it later, goes on from where it was."""
    async with reader_of(gate, await organisation.key()) as reader:
        await reader.joined()
        numbers = await emit_apart(node, organisation.id, 5)
        await has_exactly(reader, numbers)
        frozen = gate.connections[0]
        frozen.down.freeze()
        if ways == "both":
            frozen.up.freeze()
        numbers += await emit_apart(node, organisation.id, 20)
        await eventually(lambda: node.door.connections == 0, within=60, what="the hub has dropped the socket")
        numbers += await emit_apart(node, organisation.id, 5)
        frozen.down.thaw()
        frozen.up.thaw()
        await has_exactly(reader, numbers)
        assert reader.connections == 2


async def test_frozen_network_is_noticed_by_the_client(node: Node, gate: FaultProxy, organisation: Organisation):
    """A half-open connection that never ends: it comes by another, and what it had does not come again."""
    async with reader_of(gate, await organisation.key(), heartbeat=0.5) as reader:
        await reader.joined()
        numbers = await emit_apart(node, organisation.id, 5)
        await has_exactly(reader, numbers)
        gate.connections[0].down.freeze()
        gate.connections[0].up.freeze()
        numbers += await emit_apart(node, organisation.id, 20)
        await has_exactly(reader, numbers)
        assert reader.connections > 1


async def test_short_freeze_costs_nothing(patient: Node, proxies: FaultProxies, organisation: Organisation):
    """What waited arrives."""
    gate = await proxies.open(patient.url)
    async with reader_of(gate, await organisation.key()) as reader:
        await reader.joined()
        gate.connections[0].down.freeze()
        numbers = await emit_apart(patient, organisation.id, 20)
        await let_pass(PING / 4)
        gate.connections[0].down.thaw()
        await has_exactly(reader, numbers)
        assert reader.connections == 1


async def test_client_at_a_thousand_bytes_a_second_is_cut_and_others_are_not(
    patient: Node, proxies: FaultProxies, organisation: Organisation
):
    """It cannot keep up, so it is told to come again; through a sound network it gets all that it missed."""
    key, gate = await organisation.key(), await proxies.open(patient.url)
    async with AsyncExitStack() as stack:
        slow = await stack.enter_async_context(reader_of(gate, key))
        fast = await stack.enter_async_context(reader_of(await proxies.open(patient.url), key))
        await slow.joined()
        await fast.joined()
        gate.connections[0].down.rate = 1000
        numbers: list[int] = []
        for _ in range(40):
            numbers += await patient.emit(organisation.id, 20, padding=8000)
        await has_exactly(fast, numbers)
        await eventually(lambda: patient.door.connections == 1, within=60, what="the slow one is cut")
        gate.cut_all()
        await has_exactly(slow, numbers)
        assert fast.connections == 1
        assert slow.connections == 2
