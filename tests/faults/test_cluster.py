"""A Redis Cluster that is hurt and resharded while two nodes write: nothing of the log is lost or doubled, live rooms say what is.

All of an organisation is in one slot, so what happens to that slot's server happens to everything that is looked at here.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from core.store.slot_map import slot_of
from rooms.wire import feed_channel
from tests.faults.test_live_rooms import World, publishing, world
from tests.harness.cluster import OwnCluster
from tests.harness.organisations import Organisation
from tests.harness.stream_client import StreamReader
from tests.harness.waiting import eventually, let_pass

Fault = Callable[[OwnCluster, str], Awaitable[None]]


async def slot_moves_atomically(cluster: OwnCluster, name: str) -> None:
    for _ in range(3):
        await asyncio.to_thread(cluster.migrate, name, atomically=True)
        await let_pass(0.2)


async def slot_moves_key_by_key(cluster: OwnCluster, name: str) -> None:
    for _ in range(3):
        await asyncio.to_thread(cluster.migrate, name, atomically=False)
        await let_pass(0.2)


async def master_is_killed(cluster: OwnCluster, name: str) -> None:
    master = await asyncio.to_thread(cluster.owner, slot_of(name))
    replica = await asyncio.to_thread(cluster.replica_of, master)
    master.kill()
    await eventually(
        lambda: asyncio.to_thread(lambda: cluster.owner(slot_of(name)) is replica),
        within=60,
        what="the replica is promoted",
    )
    await let_pass(0.3)
    await asyncio.to_thread(master.start)
    await eventually(lambda: asyncio.to_thread(cluster.is_whole), within=60, what="the old master follows")


async def server_is_restarted(cluster: OwnCluster, name: str) -> None:
    master = await asyncio.to_thread(cluster.owner, slot_of(name))
    master.kill()
    await asyncio.to_thread(master.start)
    await eventually(lambda: asyncio.to_thread(cluster.is_whole), within=60, what="the cluster is whole again")


async def connections_freeze(cluster: OwnCluster, name: str) -> None:
    """For less than a failover takes, then for longer: its connections stay open and silent meanwhile."""
    for seconds in (0.5, 3.0):
        master = await asyncio.to_thread(cluster.owner, slot_of(name))
        master.pause()
        await let_pass(seconds)  # the length is the fault
        master.resume()
        await eventually(lambda: asyncio.to_thread(cluster.is_whole), within=60, what="the cluster is whole again")


async def masters_change_in_order(cluster: OwnCluster, name: str) -> None:
    master = await asyncio.to_thread(cluster.owner, slot_of(name))
    replica = await asyncio.to_thread(cluster.replica_of, master)
    replica.ask("CLUSTER", "FAILOVER")
    await eventually(
        lambda: asyncio.to_thread(lambda: cluster.owner(slot_of(name)) is replica),
        within=60,
        what="the replica is promoted",
    )


@asynccontextmanager
async def emitting(at: World, emitted: list[int]) -> AsyncGenerator[None]:
    """Write events of the log until the end of the block."""
    is_over = asyncio.Event()

    async def work() -> None:
        while not is_over.is_set():
            emitted.extend(await at.nodes[len(emitted) % 2].emit(at.organisation.id, 2))
            await let_pass(0.01)

    task = asyncio.create_task(work())
    try:
        yield
    finally:
        # Cancelled, it could have committed two that are not noted.
        is_over.set()
        await task


async def goes_on(at: World, emitted: list[int]) -> None:
    """Wait until some more of both kinds was written, however slowly."""
    before = len(emitted), len(at.book.events)
    await eventually(
        lambda: len(emitted) >= before[0] + 10 and len(at.book.events) >= before[1] + 10,
        within=60,
        what="writing goes on",
    )


@pytest.mark.parametrize(
    "fault",
    [
        slot_moves_atomically,
        slot_moves_key_by_key,
        master_is_killed,
        server_is_restarted,
        connections_freeze,
        masters_change_in_order,
    ],
)
async def test_nothing_is_lost_or_doubled(organisation: Organisation, own_cluster: OwnCluster, seed: int, fault: Fault):
    """Every reader gets every event of the log once, in order, over one socket; of live rooms all, or a reset."""
    async with world(organisation, own_cluster.url) as at:
        key = await organisation.key()
        emitted: list[int] = []
        async with (
            StreamReader([at.nodes[0].url], key, ["agents"]) as one,
            StreamReader([at.nodes[1].url], key, ["agents"]) as two,
        ):
            for reader in (one, two):
                await reader.joined()
            async with (
                emitting(at, emitted),
                publishing(at.book, at.nodes, organisation, at.channels, random.Random(seed)),
            ):
                await goes_on(at, emitted)
                await fault(own_cluster, feed_channel(organisation.id))
                await goes_on(at, emitted)
            for reader in (one, two):
                await eventually(
                    lambda reader=reader: len(reader.received) >= len(emitted), within=60, what="all of the log"
                )
                frames = [each.event["data"]["number"] for each in reader.received]
                assert sorted(frames) == sorted(emitted)
                assert [each.offset for each in reader.received] == list(range(1, len(emitted) + 1))
                assert (reader.connections, reader.problems) == (1, [])
                assert not [each for each in reader.resets if each["channel"] == "agents"]
        await at.all_go_on()
        for reader in at.readers:
            assert reader.connections == 1
