"""Deploys: a node stops, and its sockets move to another one with no peak and without a missed event."""

from core.store.engines import EngineUrls
from tests.faults.conftest import WriteOn
from tests.faults.deploy import move
from tests.harness.hub_process import HubProcesses
from tests.harness.organisations import Organisation

SOCKETS, RATE = 300, 100


async def test_sockets_move_to_another_node_at_the_set_rate_and_miss_nothing(
    engines: EngineUrls,
    database_url: str,
    redis_url: str,
    organisation: Organisation,
    write_on: WriteOn,
    hubs: HubProcesses,
):
    """SIGTERM under 300 readers and a writer: each is told once, comes back in its turn, and goes on where it was."""
    urls = EngineUrls(database_url, engines.superuser_url, redis_url)
    environment = {"HUB_RETURNS_PER_SECOND": str(RATE)}
    nodes = [await hubs.start(urls=urls, environment=environment) for _ in range(2)]
    key = await organisation.key()
    async with write_on(organisation, key, nodes[1:], pause=0.02) as writer:
        peak, seconds = await move(nodes, key, writer, sockets=SOCKETS, rate=RATE, within=40)
    assert seconds >= SOCKETS / RATE, "nobody was hurried"
    print(f"{SOCKETS} sockets moved in {seconds:.1f} s, at most {peak} handshakes in a second (set: {RATE})")
