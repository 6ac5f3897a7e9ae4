"""One node loses its connections to Redis while another goes on publishing: its readers get everything, over the same sockets.

What was published while a node did not listen is a gap that no message tells of. It must be found, and filled in order.
"""

import random
from contextlib import AsyncExitStack

from core.store.engines import EngineUrls
from tests.faults.conftest import WriteOn
from tests.harness.hub_process import HubProcesses
from tests.harness.organisations import Organisation
from tests.harness.proxy import FaultProxies, ProxiedConnection
from tests.harness.stream_client import StreamReader
from tests.harness.valkey import OwnRedis
from tests.harness.waiting import eventually

CUTS = 60


async def test_node_whose_feed_is_cut_and_silenced_misses_nothing(
    engines: EngineUrls,
    organisation: Organisation,
    own_redis: OwnRedis,
    proxies: FaultProxies,
    write_on: WriteOn,
    seed: int,
    hubs: HubProcesses,
):
    """Its connections end in the middle of messages, then all of them fall silent without ending."""
    rng = random.Random(seed)
    gate = await proxies.open(own_redis.url)
    publishing = await hubs.start(urls=EngineUrls(organisation.database_url, engines.superuser_url, own_redis.url))
    listening = await hubs.start(urls=EngineUrls(organisation.database_url, engines.superuser_url, gate.url()))
    key = await organisation.key()

    def cut_somewhere(connection: ProxiedConnection) -> None:
        connection.down.cut_after(int(rng.expovariate(1 / 6000)) + 1, rng.choice(("rst", "fin")))

    async with AsyncExitStack() as stack:
        readers = [
            await stack.enter_async_context(StreamReader([listening.stream_url], key, channels))
            for channels in (["agents", "knowledge", "twins"], ["twins"])
        ]
        for reader in readers:
            await reader.joined()
        writer = await stack.enter_async_context(write_on(organisation, key, [publishing], pause=0.003))
        await writer.more()
        gate.on_connect = cut_somewhere
        gate.cut_all()
        await eventually(
            lambda: writer.check() and len(gate.log) >= CUTS, within=60, every=0.02, what=f"{CUTS} cuts of the feed"
        )
        gate.on_connect = None
        gate.cut_all()
        await writer.more()
        for connection in gate.alive:
            connection.up.freeze()
            connection.down.freeze()
        await writer.more()
        await writer.stop()
        await writer.ledger.settle()
        for reader in readers:
            await reader.has_all(writer.ledger.log)
    writer.ledger.check_log()
    for reader in readers:
        writer.ledger.check_reader(reader)
        assert reader.connections == 1, reader.closes
    print(f"{len(gate.log)} cuts, {len(writer.ledger.log)} events")
