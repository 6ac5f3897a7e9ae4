"""A hub that pushes, over real sockets, to receivers on loopback."""

from collections.abc import AsyncIterator

import pytest

from core.store.engines import EngineUrls
from tests.harness.hub_process import HubProcess, HubProcesses
from tests.harness.organisations import Organisation
from tests.harness.rest_client import RestClient

LOOPBACK = {"HUB_OUTBOUND_ALLOW": "127.0.0.0/8"}


@pytest.fixture
def hub(database_url: str, redis_url: str, engines: EngineUrls, hubs: HubProcesses) -> HubProcess:
    """A hub that may call loopback; not started yet."""
    return hubs.prepare(urls=EngineUrls(database_url, engines.superuser_url, redis_url), environment=LOOPBACK)


@pytest.fixture
async def rest(hub: HubProcess, organisation: Organisation) -> AsyncIterator[RestClient]:
    """A client of it."""
    await hub.start()
    async with RestClient(hub.base_url, await organisation.key()) as client:
        yield client
