"""Readers with filters, deltas and wildcards, cut at random points while nodes die, end with the states that there are."""

import random
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from core.store.engines import EngineUrls
from rooms.filters import Filter, parse_filter
from tests.harness.event_source import EventReader, Poller
from tests.harness.hub_process import HubProcess, HubProcesses
from tests.harness.organisations import Organisation
from tests.harness.proxy import Address, FaultProxies, FaultProxy, ProxiedConnection
from tests.harness.rest_client import LATER, Answer, RestClient
from tests.harness.stream_client import StreamReader
from tests.harness.valkey import OwnRedis
from tests.harness.waiting import eventually
from tests.hub.stream.resources import Fold

WRITES = 120
CUTS = 150
TYPES = ("logistics", "factory")
Read = tuple[type[StreamReader], str, Mapping[str, Any]]
LOGISTICS, LOADED = {"type": "logistics"}, {"data.load": {"$gte": 3}}
SOCKETS: tuple[Read, ...] = (
    (StreamReader, "twins", {}),
    (StreamReader, "twins", {"delta": True}),
    (StreamReader, "twins", {"filter": LOGISTICS}),
    (StreamReader, "twins:*", {"filter": LOGISTICS, "delta": True}),
    (StreamReader, "twins:*", {"filter": LOADED, "delta": True}),
)
PLAIN_HTTP: tuple[Read, ...] = (
    (EventReader, "twins", {"delta": True}),
    (EventReader, "twins", {"filter": LOGISTICS}),
    (EventReader, "twins:*", {"filter": LOADED, "delta": True}),
    (Poller, "twins", {"filter": LOGISTICS}),
    (Poller, "twins:*", {"filter": LOADED}),
)


@dataclass
class TwinWriter:
    """Creates, changes and deletes twins, each request repeated until some node has answered it."""

    client: RestClient
    nodes: list[HubProcess]
    rng: random.Random
    ids: list[str] = field(default_factory=list[str])

    async def write(self) -> None:
        """Write once."""
        if len(self.ids) < 3 or self.rng.random() < 0.1:
            new = {"name": "Twin", "type": self.rng.choice(TYPES), "data": {"load": 1, "text": "x" * 400}}
            self.ids.append((await self._ask("POST", "/v2/twins", new)).body["id"])
            return
        id = self.rng.choice(self.ids)
        if self.rng.random() < 0.1:
            self.ids.remove(id)
            await self._ask("DELETE", f"/v2/twins/{id}")
            return
        changes: Any = self.rng.choice(({"type": self.rng.choice(TYPES)}, {"data": self._data()}))
        await self._ask("PATCH", f"/v2/twins/{id}", changes)

    async def write_many(self, count: int) -> None:
        """Write so many times."""
        for _ in range(count):
            await self.write()

    def _data(self) -> dict[str, Any]:
        return {"load": self.rng.randrange(6), "text": self.rng.choice("xyz") * 400}

    async def _ask(self, method: str, path: str, body: Any = None) -> Answer:
        key = str(uuid4())

        async def answered() -> Answer | None:
            running = [node for node in self.nodes if node.running and node.base_url]
            url = self.rng.choice(running).base_url
            headers = {"Idempotency_Key": key} if body is not None else {}
            answer = await self.client.call(method, path, body, base_url=url, **headers)
            # A delete that was lost may have happened.
            assert answer.status < 300 or answer.status in (*LATER, 404), answer
            return None if answer.status in LATER else answer

        lost = (aiohttp.ClientError, OSError, TimeoutError)
        return await eventually(answered, retry_on=lost, what=f"{method} {path}")

    async def states(self) -> dict[str, Any]:
        """Return all twins as a list has them."""
        answer = await self._ask("GET", "/v2/twins?per_page=100")
        return {twin["id"]: twin for twin in answer.body["data"]}


@dataclass
class Viewer:
    """A reader with a view, and what it holds."""

    reader: StreamReader
    wanted: Filter | None
    fold: Fold = field(default_factory=Fold)

    def holds(self, states: Mapping[str, Any]) -> bool:
        """Return when it holds what there is, of what it wants; else raise AssertionError."""
        wanted = self.wanted
        mine = {id: each for id, each in states.items() if wanted is None or wanted.matches({"data": each})}
        assert not self.reader.problems
        assert self.fold.states == mine
        return True


def viewer(urls: list[str], key: str, read: Read) -> Viewer:
    kind, channel, options = read
    reader = kind(urls, key, [channel], options={channel: options})
    made = Viewer(reader, parse_filter(options["filter"]) if "filter" in options else None)
    reader.on_frame = made.fold.take
    return made


def cut_at_random(connection: ProxiedConnection, rng: random.Random) -> None:
    connection.down.cut_after(int(rng.expovariate(1 / 4000)) + 1, rng.choice(("rst", "fin")))


async def proxied(proxies: FaultProxies, node: HubProcess, rng: random.Random) -> FaultProxy:
    proxy = await proxies.open(node.base_url)
    proxy.on_connect = lambda connection: cut_at_random(connection, rng)
    return proxy


@pytest.mark.parametrize("views", [SOCKETS, PLAIN_HTTP], ids=["sockets", "plain_http"])
async def test_views_come_through_cuts_and_kills(
    views: Sequence[Read],
    engines: EngineUrls,
    organisation: Organisation,
    own_redis: OwnRedis,
    proxies: FaultProxies,
    seed: int,
    hubs: HubProcesses,
):
    """A node is killed on the way and comes back, Redis too; what each view folds is what a list says, and nothing came twice."""
    rng = random.Random(seed)
    urls = EngineUrls(organisation.database_url, engines.superuser_url, own_redis.url)
    nodes = await hubs.start_many(2, urls=urls)
    gates = [await proxied(proxies, node, rng) for node in nodes]
    key = await organisation.key()
    streams = [gate.url("ws") + "/v2/stream" for gate in gates]

    def cuts() -> int:
        return sum(" cut by " in line for gate in gates for line in gate.log)

    viewers = [viewer(rng.sample(streams, 2), key, each) for each in views]
    async with AsyncExitStack() as stack:
        for each in viewers:
            await stack.enter_async_context(each.reader)
            await each.reader.joined()
        client = await stack.enter_async_context(RestClient("", key))
        writer = TwinWriter(client, nodes, rng)
        await writer.write_many(WRITES // 3)
        nodes[0].kill()
        await writer.write_many(WRITES // 3)
        await nodes[0].start()
        gates[0].server = Address.of(nodes[0].base_url)
        own_redis.kill()
        own_redis.start()
        await writer.write_many(WRITES // 3)
        while cuts() < CUTS:
            await writer.write()
        for gate in gates:
            gate.on_connect = None
            gate.cut_all()
        await writer.write_many(10)
        states = await writer.states()
        for each in viewers:
            await each.reader.joined()
            await eventually(lambda each=each: each.holds(states), within=60, every=0.05, what=f"{each.reader.options}")
    for each in viewers:
        assert each.fold.positions == sorted(set(each.fold.positions)), each.reader.options
        assert not [frame for frame in each.reader.resets if frame["channel"] in each.reader.channels]
    told = [(each.fold.whole, each.fold.patched, each.fold.left) for each in viewers]
    print(f"{cuts()} cuts, (whole, patched, left) of each view: {told}")
    assert sum(each.fold.patched for each in viewers)
    assert sum(each.fold.left for each in viewers)
