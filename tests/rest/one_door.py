"""One served door for all tests of a module, each with an organisation of its own: for modules of many small tests.

Such a module imports these fixtures, and is marked `ONE_DOOR`: all of its tests are of one event loop.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from core.store.engines import EngineUrls
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation, Organisations
from tests.rest.declared import operations
from tests.rest.server import RestServer, serve

ONE_DOOR = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def clock() -> ManualClock:
    """The door's clock."""
    return ManualClock()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rest(urls: EngineUrls, clock: ManualClock) -> AsyncIterator[RestServer]:
    """The door with all of the hub's operations."""
    async with serve(urls.database_url, clock, operations().values()) as served:
        yield served


@pytest_asyncio.fixture(loop_scope="module")
async def organisation(urls: EngineUrls) -> Organisation:
    """One of the enterprise tier, for this test."""
    return await Organisations(urls.database_url).create()


@pytest_asyncio.fixture(loop_scope="module")
async def key(organisation: Organisation) -> str:
    """A key with all scopes."""
    return await organisation.key()
