"""A node stops under two thousand sockets: `make soak` moves them all, at the rate that is set, and nobody misses an event."""

import random

import pytest

from core.auth.organisations import set_limits
from core.store.database import connect_as
from core.store.engines import EngineUrls
from tests.faults.deploy import move
from tests.harness.hub_process import HubProcesses
from tests.harness.ledger import Ledger
from tests.harness.organisations import Organisation
from tests.harness.rest_client import RestClient, Writer

SOCKETS, RATE = 2_000, 500


@pytest.mark.deadline(0)
async def test_two_thousand_sockets_move_to_another_node(
    engines: EngineUrls, database_url: str, redis_url: str, organisation: Organisation, hubs: HubProcesses
):
    """The peak of handshakes stays at the rate, and every reader has every event once."""
    urls = EngineUrls(database_url, engines.superuser_url, redis_url)
    environment = {"HUB_RETURNS_PER_SECOND": str(RATE), "HUB_LOG": "warning"}
    nodes = [await hubs.start(urls=urls, environment=environment) for _ in range(2)]
    key = await organisation.key()
    owner = await connect_as(database_url, "hub_owner")
    await set_limits(owner, organisation.slug, {"concurrent_connections": SOCKETS + 10})
    await owner.close()
    ledger = Ledger(organisation.database_url, organisation.id, SOCKETS)
    async with (
        RestClient("", key) as client,
        Writer(client, lambda: [nodes[1].base_url], ledger, random.Random(SOCKETS), pause=0.2) as writer,
    ):
        peak, seconds = await move(nodes, key, writer, sockets=SOCKETS, rate=RATE, within=120)
    print(f"{SOCKETS} sockets moved in {seconds:.1f} s, at most {peak} handshakes in a second (set: {RATE})")
