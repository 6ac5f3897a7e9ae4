"""Two thousand clients after a total restart: `make soak` counts handshakes, and asks REST meanwhile."""

import random

import pytest

from core.auth.organisations import set_limits
from core.store.database import connect_as
from core.store.engines import EngineUrls
from tests.faults.storm import storm
from tests.harness.hub_process import HubProcesses
from tests.harness.ledger import Ledger
from tests.harness.organisations import Organisation
from tests.harness.rest_client import RestClient, Writer

SOCKETS, RATE = 2_000, 200
# Clients and node share the machine: what a client sees late counts for a later second.
ALLOWANCE = 1.5


@pytest.mark.deadline(0)
async def test_two_thousand_come_back_within_a_minute(
    engines: EngineUrls, database_url: str, redis_url: str, organisation: Organisation, hubs: HubProcesses
):
    """The rate stays under its mark, everybody has every event once, and REST's 99th percentile is under 200 ms."""
    urls = EngineUrls(database_url, engines.superuser_url, redis_url)
    environment = {"HUB_HANDSHAKES_PER_SECOND": str(RATE), "HUB_LOG": "warning"}
    node = await hubs.start(urls=urls, environment=environment)
    key = await organisation.key()
    owner = await connect_as(database_url, "hub_owner")
    await set_limits(owner, organisation.slug, {"concurrent_connections": 3 * SOCKETS})
    await owner.close()
    ledger = Ledger(organisation.database_url, organisation.id, SOCKETS)
    async with (
        RestClient("", key) as client,
        Writer(client, lambda: [node.base_url], ledger, random.Random(SOCKETS), pause=0.2) as writer,
    ):
        seen = await storm(node, key, writer, sockets=SOCKETS, within=60)
    print(f"{SOCKETS} sockets, mark {RATE}: {seen}")
    assert seen.peak <= RATE * ALLOWANCE
    assert seen.rest_p99_ms < 200
