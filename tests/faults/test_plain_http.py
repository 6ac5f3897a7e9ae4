"""Readers by server-sent events and by polls are cut anywhere, while nodes and Redis die: nothing missed, nothing doubled."""

import random
from contextlib import AsyncExitStack

from core.store.engines import EngineUrls
from tests.faults.conftest import WriteOn
from tests.faults.test_cuts import proxied
from tests.harness.event_source import EventReader, Poller
from tests.harness.hub_process import HubProcesses
from tests.harness.organisations import Organisation
from tests.harness.proxy import Address, FaultProxies
from tests.harness.valkey import OwnRedis
from tests.harness.waiting import eventually, let_pass

CUTS = 600
ALL = ["agents", "knowledge", "twins"]
READERS = (
    (EventReader, ALL),
    (EventReader, ["twins", "knowledge"]),
    (EventReader, ["agents"]),
    (Poller, ALL),
    (Poller, ["twins"]),
)


async def test_readers_without_sockets_miss_and_double_nothing(
    engines: EngineUrls,
    organisation: Organisation,
    own_redis: OwnRedis,
    proxies: FaultProxies,
    write_on: WriteOn,
    seed: int,
    hubs: HubProcesses,
):
    """On the way a node is killed and started again, and Redis is killed twice, once to come back empty."""
    rng = random.Random(seed)
    urls = EngineUrls(organisation.database_url, engines.superuser_url, own_redis.url)
    nodes = await hubs.start_many(2, urls=urls)
    gates = [await proxied(proxies, node, rng) for node in nodes]
    key = await organisation.key()

    def cuts() -> int:
        return sum(" cut by " in line for gate in gates for line in gate.log)

    async with AsyncExitStack() as stack:
        streams = [gate.url("ws") + "/v2/stream" for gate in gates]
        readers = [
            await stack.enter_async_context(kind(rng.sample(streams, 2), key, channels)) for kind, channels in READERS
        ]
        for reader in readers:
            await reader.joined()
        writer = await stack.enter_async_context(write_on(organisation, key, nodes))

        async def reached(count: int) -> None:
            await eventually(lambda: writer.check() and cuts() >= count, within=90, every=0.02, what=f"{count} cuts")

        await reached(CUTS // 4)
        nodes[0].kill()
        await reached(CUTS // 4 + 60)
        await nodes[0].start()
        gates[0].server = Address.of(nodes[0].base_url)
        await reached(CUTS // 2)
        own_redis.kill()
        await let_pass(0.5)
        own_redis.start()
        await reached(CUTS * 3 // 4)
        own_redis.restart(empty=True)
        await reached(CUTS)
        for gate in gates:
            gate.on_connect = None
        await writer.stop()
        ledger = writer.ledger
        await ledger.settle()
        ledger.check_log()
        for gate in gates:
            gate.cut_all()
        for reader in readers:
            await reader.has_all(ledger.log)
    for reader in readers:
        ledger.check_reader(reader)
    print(f"{cuts()} cuts, {len(ledger.log)} events, {sum(reader.connections for reader in readers)} connections")
