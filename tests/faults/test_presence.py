"""Presence when nodes are killed, stopped and woken, Redis is lost, and people come back elsewhere: real processes and sockets."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from core.store.engines import EngineUrls
from tests.harness.hub_process import HubProcess, HubProcesses
from tests.harness.organisations import Organisation
from tests.harness.presence_reader import PresenceReader
from tests.harness.stream_client import StreamClient, open_stream
from tests.harness.valkey import OwnRedis
from tests.harness.waiting import eventually, let_pass

GONE_SECONDS = 10.0
# What a machine that has little time for us may take longer.
BUSY_SECONDS = 10.0
STOPPED_SECONDS = 9.0


@pytest.fixture
def urls(engines: EngineUrls, organisation: Organisation, redis_url: str) -> EngineUrls:
    return EngineUrls(organisation.database_url, engines.superuser_url, redis_url)


@asynccontextmanager
async def member(node: HubProcess, key: str) -> AsyncGenerator[tuple[str, StreamClient]]:
    """One who is in the lobby through `node`, and asks for nothing."""
    async with open_stream(node.stream_url, key) as client:
        subject = (await client.expect("welcome"))["subject"]
        await client.subscribe("chat:lobby")
        yield subject, client


async def test_members_of_a_killed_node_are_gone_within_ten_seconds(
    urls: EngineUrls, organisation: Organisation, hubs: HubProcesses
):
    """Those of other nodes stay, and so does who has another connection elsewhere."""
    one, two = await hubs.start_many(2, urls=urls)
    async with AsyncExitStack() as stack:
        reader = await stack.enter_async_context(PresenceReader([one.stream_url], await organisation.key()))
        doomed = [await stack.enter_async_context(member(two, await organisation.key())) for _ in range(20)]
        both_key = await organisation.key()
        both, _ = await stack.enter_async_context(member(two, both_key))
        await stack.enter_async_context(member(one, both_key))
        names = [name for name, _ in doomed]
        await reader.sees(reader.subject, both, *names)
        began = time.monotonic()
        two.kill()
        await reader.sees(reader.subject, both, within=GONE_SECONDS + BUSY_SECONDS)
        took = max(when for kind, _, when in reader.told if kind == "left") - began
        print(f"gone after {took:.1f} s")
        assert took <= GONE_SECONDS
        assert sorted(reader.of("left")) == sorted(names)
        # It is one diff: all have gone at one moment.
        assert len({when for kind, _, when in reader.told if kind == "left"}) <= 20
        assert reader.members[both]["connections"] == 1
        assert reader.lists == reader.connections == 1


async def test_stopped_node_registers_everything_again_when_it_is_woken(
    urls: EngineUrls, organisation: Organisation, hubs: HubProcesses
):
    """SIGSTOP for longer than the lease, then SIGCONT: its members leave and are there again, through the same sockets."""
    one, two = await hubs.start_many(2, urls=urls)
    async with AsyncExitStack() as stack:
        reader = await stack.enter_async_context(PresenceReader([one.stream_url], await organisation.key()))
        other = await stack.enter_async_context(PresenceReader([two.stream_url], await organisation.key()))
        names = [(await stack.enter_async_context(member(two, await organisation.key())))[0] for _ in range(5)]
        await reader.sees(reader.subject, other.subject, *names)
        two.pause()
        await let_pass(STOPPED_SECONDS)  # the length of the stop is the fault
        await reader.sees(reader.subject, within=GONE_SECONDS + BUSY_SECONDS)
        late, _ = await stack.enter_async_context(member(one, await organisation.key()))
        two.resume()
        await reader.sees(reader.subject, other.subject, late, *names)
        await other.sees(reader.subject, other.subject, late, *names)
        assert (other.connections, reader.connections) == (1, 1)
        assert "presence_lease_lost" in two.output()


@pytest.mark.parametrize("empty", [True, False], ids=["empty", "kept"])
async def test_restarted_redis_makes_nobody_leave(
    engines: EngineUrls, organisation: Organisation, own_redis: OwnRedis, hubs: HubProcesses, empty: bool
):
    """Everybody is registered again, under a new epoch; who has gone meanwhile has left, and who came has joined."""
    urls = EngineUrls(organisation.database_url, engines.superuser_url, own_redis.url)
    one, two = await hubs.start_many(2, urls=urls)
    async with AsyncExitStack() as stack:
        reader = await stack.enter_async_context(PresenceReader([one.stream_url], await organisation.key()))
        names = [(await stack.enter_async_context(member(two, await organisation.key())))[0] for _ in range(5)]
        async with member(two, await organisation.key()) as (gone, leaving):
            await reader.sees(reader.subject, gone, *names)
            before = reader.epoch
            own_redis.kill()
            await leaving.socket.close()
            own_redis.restart(empty=empty)
        late, _ = await stack.enter_async_context(member(two, await organisation.key()))
        await reader.sees(reader.subject, late, *names)
        assert reader.of("left") == [gone]
        assert reader.of("joined")[-1] == late
        assert reader.epoch != before
        assert reader.lists == reader.connections == 1


async def test_returning_elsewhere_is_no_flicker(urls: EngineUrls, organisation: Organisation, hubs: HubProcesses):
    """Cut off, and back through another node within the grace; and again through a node that stops in order."""
    one, two, three = await hubs.start_many(3, urls=urls)
    key = await organisation.key()
    async with PresenceReader([one.stream_url], await organisation.key()) as reader:
        async with member(two, key) as (name, client):
            await reader.sees(reader.subject, name)
            client.socket.transport.abort()
        async with member(three, key) as (_, client):
            await eventually(lambda: reader.members[name]["connections"] == 1 and reader.frames > 2)
            stopping = asyncio.create_task(three.stop())
            assert await client.closed() == 4000
            async with member(one, key):
                await stopping
                await eventually(lambda: reader.members[name]["connections"] == 1)
                assert reader.of("left") == []
                assert reader.of("joined").count(name) == 1
        await reader.sees(reader.subject)


async def test_two_tabs_are_one_person(urls: EngineUrls, organisation: Organisation, hubs: HubProcesses):
    """On two nodes; the data is what was said last by those that are open."""
    one, two = await hubs.start_many(2, urls=urls)
    key = await organisation.key()
    async with PresenceReader([one.stream_url], await organisation.key()) as reader, AsyncExitStack() as tabs:
        name, first = await tabs.enter_async_context(member(one, key))
        await first.ask({"type": "presence", "channel": "chat:lobby", "data": {"tab": 1}})
        async with member(two, key) as (_, second):
            await second.ask({"type": "presence", "channel": "chat:lobby", "data": {"tab": 2}})
            await eventually(lambda: reader.members.get(name, {}).get("data") == {"tab": 2})
            assert reader.members[name]["connections"] == 2
        await eventually(lambda: reader.members[name]["data"] == {"tab": 1})
        await tabs.aclose()
        await reader.sees(reader.subject)
        assert (reader.of("joined").count(name), reader.of("left").count(name)) == (1, 1)


async def test_random_schedule_ends_in_the_truth_on_all_nodes(
    urls: EngineUrls, organisation: Organisation, hubs: HubProcesses, seed: int
):
    """People come, go, are cut off, while a node is killed and another stands still: in the end all see who is there."""
    rng = random.Random(seed)
    nodes = await hubs.start_many(3, urls=urls)
    keys = [await organisation.key() for _ in range(12)]
    async with AsyncExitStack() as stack:
        readers = [
            await stack.enter_async_context(PresenceReader([node.stream_url], await organisation.key()))
            for node in nodes[:2]
        ]
        crowd: dict[int, tuple[HubProcess, AsyncExitStack, str, StreamClient]] = {}
        for step in range(60):
            number = rng.randrange(len(keys))
            if number in crowd:
                _, own, _, client = crowd.pop(number)
                if rng.random() < 0.4:
                    client.socket.transport.abort()
                await own.aclose()
            else:
                node = rng.choice([node for node in nodes if node.running])
                own = await stack.enter_async_context(AsyncExitStack())
                name, client = await own.enter_async_context(member(node, keys[number]))
                crowd[number] = (node, own, name, client)
            if step == 30:
                nodes[2].kill()
                crowd = {number: each for number, each in crowd.items() if each[0] is not nodes[2]}
            if step == 45:
                nodes[1].pause()
                await let_pass(STOPPED_SECONDS)
                nodes[1].resume()
        truth = {each[2] for each in crowd.values()} | {reader.subject for reader in readers}
        await asyncio.gather(*(reader.sees(*truth, within=GONE_SECONDS + BUSY_SECONDS) for reader in readers))
        # Who was cut off and came back to another node counts twice for the grace.
        for reader in readers:
            await eventually(
                lambda reader=reader: (
                    {name: each["connections"] for name, each in reader.members.items()} == dict.fromkeys(truth, 1)
                ),
                within=GONE_SECONDS + BUSY_SECONDS,
                what="each is there once",
            )
        assert readers[0].count == readers[1].count
