"""A Redis Cluster: commands find their server, channels follow their slots, and what is lost on the way is told of."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.exceptions import ClusterError, RedisError

from core.clock import SystemClock
from core.settings import seeds_of
from core.store.cluster import MOST_TRIES
from core.store.pubsub import PubSub
from core.store.redis import Redis, Script, connect_redis
from core.store.slot_map import SLOTS, Address, SlotMap, read_slots, slot_of
from tests.harness.cluster import ClusterNode, OwnCluster
from tests.harness.waiting import eventually

# Twelve slots, four at each of three masters or so.
NAMES = [f"{{{number}}}" for number in range(12)]


@pytest.fixture
async def redis(cluster: OwnCluster) -> AsyncIterator[Redis]:
    cluster.flush()
    client = connect_redis(cluster.url)
    yield client
    await client.aclose()


class Listener:
    """A PubSub, what it heard, and of which channels it was told that something may be missing."""

    def __init__(self, url: str) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.again: list[str] = []
        self.pubsub = PubSub(
            url,
            clock=SystemClock(),
            on_batch=self.heard.extend,
            on_connected=self.again.extend,
        )

    async def hears(self, redis: Redis, channel: str) -> None:
        """Publish until it is heard."""
        before = len(self.heard)

        async def came() -> bool:
            with contextlib.suppress(RedisError):
                await redis.spublish(channel, b"?")
            return any(name == channel for name, _ in self.heard[before:])

        await eventually(came, within=15, every=0.02, what=f"{channel} is heard")


@pytest.fixture
async def listener(cluster: OwnCluster) -> AsyncIterator[Listener]:
    made = Listener(cluster.url)
    await made.pubsub.open()
    yield made
    await made.pubsub.close()


async def test_commands_and_scripts_find_their_servers(redis: Redis, tmp_path: Path):
    """Whatever slot the key has; one that lacks the script is told it."""
    file = tmp_path / "twice.lua"
    file.write_text("return redis.call('INCRBY', KEYS[1], ARGV[1]) * 2")
    script = Script(file)
    for name in NAMES:
        await redis.set(name, 1)
    assert [await redis.get(name) for name in NAMES] == [b"1"] * len(NAMES)
    assert await script.run(redis, [NAMES[0]], [2]) == 6
    assert await script.run_each(redis, [([name], [1]) for name in NAMES]) == [8, *[4] * (len(NAMES) - 1)]
    assert len(await redis.masters()) == 3


async def test_each_server_has_one_connection_where_channels_are_wanted(
    cluster: OwnCluster, listener: Listener, redis: Redis
):
    """What is published to any channel comes, in order."""
    await listener.pubsub.subscribe(NAMES[0])
    for server in cluster.nodes:
        assert subscribers_at(server) == (server is cluster.owner(slot_of(NAMES[0])))
    await asyncio.gather(*(listener.pubsub.subscribe(name) for name in NAMES))
    assert [subscribers_at(server) for server in cluster.nodes] == [1, 1, 1]
    sent = [(name, b"%d" % number) for number in range(5) for name in NAMES]
    for name, payload in sent:
        assert await redis.spublish(name, payload) == 1
    await eventually(lambda: len(listener.heard) == len(sent))
    for name in NAMES:
        assert [each for each in listener.heard if each[0] == name] == [each for each in sent if each[0] == name]
    assert listener.pubsub.connected


@pytest.mark.parametrize("atomically", [True, False], ids=["atomically", "by keys"])
async def test_channels_follow_a_slot_that_moves(
    cluster: OwnCluster, listener: Listener, redis: Redis, atomically: bool
):
    """These alone are told of, and their keys are found where they are, also by who knew the old place."""
    moving, same = [f"{NAMES[1]}:a", f"{NAMES[1]}:b"], NAMES[2]
    await asyncio.gather(*(listener.pubsub.subscribe(name) for name in (*moving, same)))
    await redis.set(moving[0], "kept")
    await eventually(lambda: listener.pubsub.connected)
    listener.again.clear()
    await asyncio.to_thread(cluster.migrate, moving[0], atomically=atomically)
    assert await redis.get(moving[0]) == b"kept"
    await eventually(lambda: sorted(listener.again) == moving, what="both are told of")
    for name in (*moving, same):
        assert await redis.spublish(name, b"!") == 1
        await eventually(lambda name=name: (name, b"!") in listener.heard)
    assert sorted(listener.again) == moving


async def test_key_that_is_on_its_way_is_followed(cluster: OwnCluster, redis: Redis, tmp_path: Path):
    """ASK: each command goes to where the key is, whichever of many connections are free."""
    name = f"{NAMES[3]}:moving"
    source = cluster.owner(slot_of(name))
    target = cluster.another(source)
    await asyncio.gather(*(redis.set(f"{NAMES[3]}:{number}", 1) for number in range(20)))
    target.ask("CLUSTER", "SETSLOT", slot_of(name), "IMPORTING", source.id)
    source.ask("CLUSTER", "SETSLOT", slot_of(name), "MIGRATING", target.id)
    file = tmp_path / "both.lua"
    file.write_text(
        "redis.call('SET', KEYS[1], ARGV[1]) redis.call('SET', KEYS[2], ARGV[1]) return redis.call('GET', KEYS[1])"
    )
    script = Script(file)
    both = [f"{name}:x", f"{name}:y"]
    with pytest.raises(RedisError):
        # No server says that it may make two keys which are nowhere yet.
        await script.run(redis, both, [1])
    for key in both:
        await redis.set(key, 1)
    for number in range(20):
        await asyncio.gather(*(redis.set(f"{name}:{each}", number) for each in range(10)))
        assert await script.run(redis, both, [number]) == b"%d" % number
    assert (await script.run_each(redis, [(both, ["z"])])) == [b"z"]
    assert target.ask("CLUSTER", "COUNTKEYSINSLOT", slot_of(name)) == 12
    await asyncio.to_thread(cluster.move_by_keys, slot_of(name), source, target)
    assert await redis.get(f"{name}:x") == b"z"


@pytest.mark.parametrize("arrived", [True, False], ids=["moved", "on its way"])
async def test_redirected_commands_of_a_slot_keep_their_order(cluster: OwnCluster, redis: Redis, arrived: bool):
    """However many connections there are: what is sent together is done in the order in which it is named."""
    name = f"{NAMES[4]}:list"
    slot = slot_of(name)
    source = cluster.owner(slot)
    target = cluster.another(source)
    await asyncio.gather(*(redis.rpush(name, "first") for _ in range(30)))
    if arrived:
        await asyncio.to_thread(cluster.move_by_keys, slot, source, target)
    else:
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
        source.ask("MIGRATE", "127.0.0.1", target.port, name, 0, 5000)
    # The first are long: those that follow would be there before.
    sent = [b"%d" % number + b"x" * (200_000 if number < 5 else 0) for number in range(40)]
    assert await redis.together([("RPUSH", name, each) for each in sent]) == list(range(31, 71))
    kept = await redis.execute_command("LRANGE", name, 30, -1)
    assert [each[:2] for each in kept] == [each[:2] for each in sent]
    if not arrived:
        await asyncio.to_thread(cluster.move_by_keys, slot, source, target)


class CountingClock(SystemClock):
    """Counts how often it was slept."""

    slept = 0

    async def sleep(self, seconds: float) -> None:
        self.slept += 1
        await super().sleep(seconds)


async def test_commands_of_a_slot_on_its_way_share_their_patience(cluster: OwnCluster):
    """However many are refused, together they wait as long as one does; what can be done among them is."""
    cluster.flush()
    clock = CountingClock()
    redis = connect_redis(cluster.url, clock)
    here, there, other = f"{NAMES[5]}:here", f"{NAMES[5]}:there", f"{NAMES[6]}:other"
    for name in (here, there, other):
        await redis.set(name, name)
    slot = slot_of(here)
    source = cluster.owner(slot)
    target = cluster.another(source)
    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
    source.ask("MIGRATE", "127.0.0.1", target.port, there, 0, 5000)
    try:
        split = ("MGET", here, there)
        answers = await redis.together([*[split] * 30, ("GET", there), ("GET", here), ("GET", other)])
        assert [type(each) for each in answers[:30]] == [ClusterError] * 30
        assert answers[30:] == [name.encode() for name in (there, here, other)]
        assert clock.slept == MOST_TRIES
    finally:
        await asyncio.to_thread(cluster.move_by_keys, slot, source, target)
        await redis.aclose()


async def test_master_that_dies_is_replaced(own_cluster: OwnCluster):
    """Its channels are heard at its replica once that is promoted, its keys found there; the others stay as they are."""
    listener, redis = (
        Listener(own_cluster.url),
        connect_redis(f"{own_cluster.url},127.0.0.1:{own_cluster.nodes[1].port}"),
    )
    await listener.pubsub.open()
    try:
        await asyncio.gather(*(listener.pubsub.subscribe(name) for name in NAMES))
        await eventually(lambda: listener.pubsub.connected)
        for name in NAMES:
            await redis.set(name, "kept")
        master = own_cluster.owner(slot_of(NAMES[0]))
        hit = [name for name in NAMES if own_cluster.owner(slot_of(name)) is master]
        listener.again.clear()
        master.kill()
        await eventually(lambda: not listener.pubsub.connected)
        for name in NAMES:
            await listener.hears(redis, name)
        assert sorted(listener.again) == sorted(hit)
        await eventually(lambda: listener.pubsub.connected)
        assert [await redis.get(name) for name in NAMES] == [b"kept"] * len(NAMES)
        # The first of the seeds, which the client was opened with, may be the one that is away.
        late = connect_redis(f"{master.url},127.0.0.1:{own_cluster.another(master).port}")
        assert await late.get(NAMES[0]) == b"kept"
        await late.aclose()
    finally:
        await listener.pubsub.close()
        await redis.aclose()


async def test_orderly_change_of_masters_is_followed(own_cluster: OwnCluster):
    """The old master says MOVED to commands; it goes on as a replica, and tells subscribers nothing."""
    redis = connect_redis(own_cluster.url)
    await redis.set(NAMES[0], "kept")
    master = own_cluster.owner(slot_of(NAMES[0]))
    replica = own_cluster.replica_of(master)
    replica.ask("CLUSTER", "FAILOVER")
    await eventually(lambda: own_cluster.owner(slot_of(NAMES[0])) is replica, retry_on=(AssertionError,))
    assert await redis.get(NAMES[0]) == b"kept"
    await redis.aclose()


def test_map_is_read():
    """A server that does not know its own address stands where it was asked."""
    slots = read_slots(
        [[0, 99, [b"", 1, b"id", []], [b"r", 2, b"id", []]], [100, 200, [b"b", 3, b"id", []]]], Address("a", 9)
    )
    assert [slots.owner(slot) for slot in (0, 99, 100, 201)] == [
        Address("a", 1),
        Address("a", 1),
        Address("b", 3),
        None,
    ]
    assert (slots.masters, slots.uncovered) == ([Address("a", 1), Address("b", 3)], SLOTS - 201)
    slots.move(7, Address("c", 4))
    assert slots.owner(7) == Address("c", 4)
    assert SlotMap.single(Address("a", 1)).owner(SLOTS - 1) == Address("a", 1)


def test_seeds_are_named_in_one_url():
    """Login, database and options are those of all."""
    assert seeds_of("redis://u:p@a:1,b:2/0?x=y") == ["redis://u:p@a:1/0?x=y", "redis://u:p@b:2/0?x=y"]
    assert seeds_of("unix:///with,comma") == ["unix:///with,comma"]


def subscribers_at(server: ClusterNode) -> int:
    """Return how many connections of a server have subscribed to sharded channels."""
    lines: bytes = server.ask("CLIENT", "LIST", "TYPE", "PUBSUB")
    return len(lines.splitlines())


async def test_server_that_names_only_a_port_is_meant_where_it_was_asked(own_cluster: OwnCluster):
    """`cluster-preferred-endpoint-type unknown-endpoint`: a redirection is to the same host, on another port."""
    for node in own_cluster.nodes:
        node.ask("CONFIG", "SET", "cluster-preferred-endpoint-type", "unknown-endpoint")
    client = connect_redis(own_cluster.url)
    try:
        await client.set(NAMES[0], 1)
        await asyncio.to_thread(own_cluster.migrate, NAMES[0], atomically=False)
        assert await client.get(NAMES[0]) == b"1"
        assert await client.together([("GET", NAMES[0])]) == [b"1"]
    finally:
        await client.aclose()
