"""The door with all of the hub's operations, and the parts that they need."""

from collections.abc import AsyncIterator

import pytest

from core.auth.signing import ensure_signing_key
from tests.harness.clock import ManualClock
from tests.harness.installation import secret_of
from tests.rest.declared import operations
from tests.rest.server import RestServer, serve


@pytest.fixture
async def rest(database_url: str, redis_url: str, clock: ManualClock) -> AsyncIterator[RestServer]:
    """Serve it."""
    await ensure_signing_key(database_url, await secret_of(database_url))
    async with serve(database_url, clock, operations().values(), redis_url=redis_url) as served:
        yield served
