"""A reader that is cut again and again, while nodes and Redis die, misses nothing and doubles nothing."""

import random
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

import pytest

from core.store.engines import EngineUrls
from rooms.filters import parse_filter
from tests.faults.conftest import WriteOn
from tests.harness.event_source import EventReader, Poller
from tests.harness.hub_process import HubProcess, HubProcesses
from tests.harness.organisations import Organisation
from tests.harness.proxy import Address, FaultProxies, FaultProxy, ProxiedConnection
from tests.harness.stream_client import StreamReader
from tests.harness.valkey import OwnRedis
from tests.harness.waiting import eventually, let_pass

ALL = ["agents", "knowledge", "twins"]


class Read(NamedTuple):
    """A reader of a kind, its channels, and what it wants of them."""

    kind: type[StreamReader]
    channels: list[str]
    filter: Mapping[str, Any] | None = None

    def made(self, urls: list[str], key: str) -> StreamReader:
        """Make it."""
        reader = self.kind(urls, key, self.channels)
        if self.filter is not None:
            reader.options = {channel: {"filter": self.filter} for channel in self.channels}
            reader.shows = parse_filter(self.filter).matches
        return reader


class Cut(NamedTuple):
    """Readers, and how often all of them are cut; `within` seconds for each part of that."""

    readers: Sequence[Read]
    cuts: int
    while_down: int
    within: float


# A filter of events: nothing leaves, so what comes is told by the log alone.
CREATED = {"$type": {"$in": ["agent.created", "knowledge.created", "twin.created"]}}
SOCKETS = Cut(
    [
        *[Read(StreamReader, ALL)] * 2,
        Read(StreamReader, ALL, CREATED),
        Read(StreamReader, ["agents"]),
        Read(StreamReader, ["twins", "knowledge"]),
    ],
    1000,
    100,
    60,
)
PLAIN_HTTP = Cut(
    [
        Read(EventReader, ALL),
        Read(EventReader, ["twins", "knowledge"], CREATED),
        Read(EventReader, ["agents"]),
        Read(Poller, ALL, CREATED),
        Read(Poller, ["twins"]),
    ],
    600,
    60,
    90,
)


def cut_at_random(connection: ProxiedConnection, rng: random.Random) -> None:
    """Let a connection end anywhere: in the handshake, in a subscribe frame, in an event, by RST or FIN."""
    how = rng.choice(("rst", "fin"))
    if rng.random() < 0.15:
        connection.up.cut_after(rng.randrange(1, 600), how)
    connection.down.cut_after(int(rng.expovariate(1 / 2500)) + 1, how)


async def proxied(proxies: FaultProxies, node: HubProcess, rng: random.Random) -> FaultProxy:
    """Open a proxy before a node that cuts each connection somewhere."""
    proxy = await proxies.open(node.base_url)
    proxy.on_connect = lambda connection: cut_at_random(connection, rng)
    return proxy


@pytest.mark.parametrize("cut", [SOCKETS, PLAIN_HTTP], ids=["sockets", "plain_http"])
async def test_reader_cut_at_random_points_misses_and_doubles_nothing(
    cut: Cut,
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
        readers = [await stack.enter_async_context(each.made(rng.sample(streams, 2), key)) for each in cut.readers]
        for reader in readers:
            await reader.joined()
        writer = await stack.enter_async_context(write_on(organisation, key, nodes))

        async def reached(count: int) -> None:
            await eventually(
                lambda: writer.check() and cuts() >= count, within=cut.within, every=0.02, what=f"{count} cuts"
            )

        await reached(cut.cuts // 4)
        nodes[0].kill()
        await reached(cut.cuts // 4 + cut.while_down)
        await nodes[0].start()
        gates[0].server = Address.of(nodes[0].base_url)
        await reached(cut.cuts // 2)
        own_redis.kill()
        await let_pass(0.5)
        own_redis.start()
        await reached(cut.cuts * 3 // 4)
        own_redis.restart(empty=True)
        await reached(cut.cuts)
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
