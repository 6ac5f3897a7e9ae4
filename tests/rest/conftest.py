"""Fixtures of the REST door: a served door, and a key of an organisation."""

from collections.abc import AsyncIterator

import pytest

from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation
from tests.rest.declared import operations
from tests.rest.server import RestServer, serve


@pytest.fixture
async def rest(database_url: str, clock: ManualClock) -> AsyncIterator[RestServer]:
    """The door with all of the hub's operations."""
    async with serve(database_url, clock, operations().values()) as served:
        yield served


@pytest.fixture
async def key(organisation: Organisation) -> str:
    """A key with all scopes."""
    return await organisation.key()


@pytest.fixture(params=[False, True], ids=["one by one", "atomic"])
def atomic(request: pytest.FixtureRequest) -> bool:
    """Whether the batch is atomic: what is asked of both."""
    return request.param
