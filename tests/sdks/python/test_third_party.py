"""A client that knows only the document, and the SDK, live through the same faults and are told the same."""

import random
from contextlib import AsyncExitStack

from core.store.engines import EngineUrls
from tests.faults.conftest import WriteOn
from tests.faults.test_cuts import proxied
from tests.harness.hub_process import HubProcesses
from tests.harness.organisations import Organisation
from tests.harness.proxy import Address, FaultProxies
from tests.harness.waiting import cancelled, eventually
from tests.sdks.bare_client import BareClient, running
from tests.sdks.python.following import Follower, OpenClient

CUTS = 120
CHANNELS = ["agents", "knowledge", "twins"]


async def test_bare_client_and_sdk_agree_over_a_faulty_run(
    engines: EngineUrls,
    organisation: Organisation,
    redis_url: str,
    proxies: FaultProxies,
    write_on: WriteOn,
    open_client: OpenClient,
    seed: int,
    hubs: HubProcesses,
):
    """Both are cut in the middle of frames, and the node is killed: same events, same offsets, same order, and both are the log."""
    rng = random.Random(seed)
    nodes = await hubs.start_many(2, urls=EngineUrls(organisation.database_url, engines.superuser_url, redis_url))
    gate = await proxied(proxies, nodes[0], rng)
    key = await organisation.key()
    bare = BareClient(gate.url("ws") + "/v2/stream", key, CHANNELS)
    task = running(bare)

    def cuts() -> int:
        return sum(" cut by " in line for line in gate.log)

    async with AsyncExitStack() as stack:
        stack.push_async_callback(cancelled, task)
        await eventually(lambda: task.done() or len(bare.start) == len(CHANNELS))
        sdk = await stack.enter_async_context(Follower(open_client(gate.url(), key, draw=lambda: 0.02), CHANNELS))
        writer = await stack.enter_async_context(write_on(organisation, key, nodes))
        await eventually(lambda: writer.check() and cuts() >= CUTS // 2, within=60, every=0.02)
        nodes[0].kill()
        gate.server = Address.of(nodes[1].base_url)
        await eventually(lambda: writer.check() and cuts() >= CUTS, within=60, every=0.02)
        gate.on_connect = None
        await writer.stop()
        await writer.ledger.settle()
        await sdk.has_all(writer.ledger.log)
        last = {channel: sdk.received[channel][-1].offset for channel in CHANNELS}
        await eventually(
            lambda: task.done() or all(_end(bare, channel) >= last[channel] for channel in CHANNELS), within=60
        )
    assert sdk.problems(writer.ledger) == []
    assert bare.refused == {}
    for channel in CHANNELS:
        begin = max(bare.start[channel], sdk.start[channel])
        by_sdk = [(each.epoch, each.offset, each.event["id"]) for each in sdk.received[channel] if each.offset > begin]
        by_hand = [(epoch, offset, id) for name, epoch, offset, id in bare.said if name == channel and offset > begin]
        assert by_sdk == by_hand, channel
    assert bare.sockets > 10


def _end(bare: BareClient, channel: str) -> int:
    return max((offset for name, _, offset, _ in bare.said if name == channel), default=0)
