"""Traces are the first that goes: new ones are refused, those under way end, and say why."""

from collections.abc import AsyncIterator

import pytest

from core.clock import SystemClock
from core.errors import HubError
from core.pressure import Part, Pressure, Scale
from hub.insight.directory import Directory
from hub.insight.tracing import Tracing
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation
from tests.hub.stream.node import Node, serve
from tests.hub.test_nodes import node as living_node


@pytest.fixture
async def node(database_url: str, redis_url: str, clock: ManualClock) -> AsyncIterator[Node]:
    async with serve(database_url, redis_url, clock) as served:
        yield served


async def test_traces_end_and_begin_again_when_there_is_time(
    node: Node, organisation: Organisation, redis_url: str, clock: ManualClock
):
    """With a time to come again; the stream that was watched goes on."""
    pressure = Pressure(clock, {"work": Scale((1, 2, 3, 4, 5))}, hold=0.0)
    async with living_node(redis_url, "one") as nodes, node.open(await organisation.key()) as client:
        id = (await client.expect("welcome"))["connection"]
        tracing = Tracing(nodes, Directory(nodes, lambda: node.door.sockets), SystemClock(), pressure)
        try:
            trace = tracing.follow(organisation.id, id, 60.0)
            await client.ask({"type": "ping"})
            await anext(trace)
            pressure.look({"work": Part.DEBUG})
            ended = [line["ended"] for lines in [each async for each in trace] for line in lines if "ended" in line]
            assert ended == ["overload"]
            with pytest.raises(HubError) as refused:
                await anext(tracing.follow(organisation.id, id, 60.0))
            assert refused.value.code == "SERVICE_UNAVAILABLE"
            assert (refused.value.retry_after or 0) >= 3
            assert (await client.ask({"type": "ping"}))["type"] == "pong"
            pressure.look({"work": 0.0})
            pressure.look({"work": 0.0})
            again = tracing.follow(organisation.id, id, 60.0)
            await anext(again)
            await again.aclose()
        finally:
            await tracing.close()
