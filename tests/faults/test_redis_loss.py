"""Redis dies, comes back, comes back empty, hangs: sockets stay, and what was missed arrives in order."""

from contextlib import AsyncExitStack

from core.store.engines import EngineUrls
from tests.faults.conftest import WriteOn
from tests.harness.hub_process import HubProcesses
from tests.harness.organisations import Organisation
from tests.harness.stream_client import StreamReader
from tests.harness.valkey import OwnRedis
from tests.harness.waiting import let_pass


async def test_sockets_stay_while_redis_is_killed_emptied_and_stopped(
    engines: EngineUrls, organisation: Organisation, own_redis: OwnRedis, write_on: WriteOn, hubs: HubProcesses
):
    """Writes go on without Redis, no socket is closed, and every reader gets every event once, in order."""
    urls = EngineUrls(organisation.database_url, engines.superuser_url, own_redis.url)
    nodes = await hubs.start_many(2, urls=urls)
    key = await organisation.key()
    async with AsyncExitStack() as stack:
        readers = [
            await stack.enter_async_context(StreamReader([node.stream_url], key, channels))
            for node in nodes
            for channels in (["agents", "knowledge", "twins"], ["twins"])
        ]
        for reader in readers:
            await reader.joined()
        writer = await stack.enter_async_context(write_on(organisation, key, nodes))
        await writer.more()
        own_redis.kill()
        await writer.more()
        own_redis.start()
        await writer.more()
        own_redis.restart(empty=True)
        await writer.more()
        own_redis.pause()
        await let_pass(3.0)  # the length of the hang is the fault
        own_redis.resume()
        await writer.more()
        await writer.stop()
        await writer.ledger.settle()
        for reader in readers:
            await reader.has_all(writer.ledger.log)
    writer.ledger.check_log()
    for reader in readers:
        writer.ledger.check_reader(reader)
        assert reader.connections == 1, reader.closes
    assert not writer.refused, "a write was refused because of Redis"
