"""Fixtures of the stream: a served node, and a key."""

from collections.abc import AsyncIterator

import pytest

from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation
from tests.hub.stream.node import Node, serve

# What is tested there is the same in both forms; elsewhere the form does not matter, and clients name none.
IN_BOTH_FORMS = {
    "test_views",
    "test_consuming",
    "test_consumers",
    "test_subscribing",
    "test_calls",
    "test_live",
    "test_marks",
    "test_presence",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests of frames with clients of either form."""
    if "subprotocol" in metafunc.fixturenames and metafunc.definition.path.stem in IN_BOTH_FORMS:
        metafunc.parametrize("subprotocol", ["aimatrix.json", "aimatrix.msgpack"], ids=["json", "msgpack"])


@pytest.fixture
def subprotocol() -> str | None:
    """What clients offer."""
    return None


@pytest.fixture
async def node(database_url: str, redis_url: str, clock: ManualClock, subprotocol: str | None) -> AsyncIterator[Node]:
    """A node with everything real but the door's clock."""
    async with serve(database_url, redis_url, clock) as served:
        served.subprotocols = None if subprotocol is None else [subprotocol]
        yield served


@pytest.fixture
async def key(organisation: Organisation) -> str:
    """A key with all scopes."""
    return await organisation.key()
