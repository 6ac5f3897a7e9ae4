"""Presence while a cluster moves its slot key by key: what is done is done whole, or not at all, and leases go on."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
from redis.exceptions import ClusterError

from core.errors import HubError
from core.store.redis import Redis, connect_redis
from core.store.slot_map import slot_of
from rooms.presence.page import Count
from rooms.presence.registrar import BEAT_SECONDS, LEASE_SECONDS
from rooms.presence.store import Applied, Beat, Beaten, Changes, Dead, PresenceStore, Presentation, text_of
from rooms.presence.wire import nodes_key
from tests.harness.cluster import ClusterNode, OwnCluster
from tests.harness.waiting import eventually, let_pass
from tests.rooms.presence.ledger import TIME, Hand, all_members
from tests.rooms.presence.test_node import CHAT, node_on

# What has moved when presence is used: keys by what they are, or all but one.
STAGES = {
    "nothing": set[str](),
    "leases": {"nodes"},
    "an index": {"of:living"},
    "connections": {"connections"},
    "what is to be told": {"touched"},
    "all but the leases": {"of:living", "of:dead", "room", "connections", "members", "order", "said", "touched"},
    "all but members": {"nodes", "of:living", "of:dead", "room", "connections", "order", "said", "touched"},
}


@pytest.fixture
def org_id() -> UUID:
    return uuid4()


@pytest.fixture
async def redis(cluster: OwnCluster) -> AsyncIterator[Redis]:
    cluster.flush()
    client = connect_redis(cluster.url)
    yield client
    await client.aclose()


class Move:
    """The slot of an organisation on its way to another server, key by key, as slowly as one likes."""

    def __init__(self, cluster: OwnCluster, org_id: UUID) -> None:
        self.slot = slot_of(nodes_key(org_id))
        self.source = cluster.owner(self.slot)
        self.target = cluster.another(self.source)
        self._cluster = cluster

    def begin(self, *keys: str) -> None:
        """Have these at the target, and the others at the source."""
        self.target.ask("CLUSTER", "SETSLOT", self.slot, "IMPORTING", self.source.id)
        self.source.ask("CLUSTER", "SETSLOT", self.slot, "MIGRATING", self.target.id)
        if keys:
            self.source.ask("MIGRATE", "127.0.0.1", self.target.port, "", 0, 5000, "KEYS", *keys)

    def finish(self) -> None:
        """Move the rest. Raises redis.ResponseError, BUSYKEY, where a key that is to be moved is at the target already."""
        self._cluster.move_by_keys(self.slot, self.source, self.target)

    def contents(self, server: ClusterNode) -> dict[str, bytes]:
        """Return what each key holds, by what it is; the two keys that may change meanwhile are left out."""
        keys = [key.decode() for key in server.ask("CLUSTER", "GETKEYSINSLOT", self.slot, 100)]
        return {key: server.ask("DUMP", key) for key in keys if not key.endswith((":nodes", f":room:{CHAT}"))}


def keys_of(org_id: UUID, names: set[str]) -> list[str]:
    """Return the names of keys; all but that of the leases and the indexes are of the room."""
    of_room = dict.fromkeys(names - {"nodes", "of:living", "of:dead"}, f":{CHAT}")
    return [f"presence:{{{org_id}}}:{name}{of_room.get(name, '')}" for name in names]


@pytest.mark.parametrize("moved", STAGES.values(), ids=STAGES)
async def test_whatever_has_moved_nothing_is_half_done(
    cluster: OwnCluster, redis: Redis, org_id: UUID, moved: set[str]
):
    """Changes and the reaper are refused, beats are not. Once the slot has arrived all is as it was, and everything works."""
    store = PresenceStore(redis, tick_ms=0, starting=0)
    living, dead = Hand(store, org_id), Hand(PresenceStore(redis, tick_ms=60_000, starting=0), org_id)
    living.incarnation, dead.incarnation = "living", "dead"
    await living.begin()
    await dead.begin()
    await living.enter("c1", "ann", '{"a":1}')
    await dead.enter("c2", "bob", '{"b":1}')  # which is still to be told
    move = Move(cluster, org_id)
    before = move.contents(move.source)
    assert len(before) == 7
    move.begin(*keys_of(org_id, moved))
    try:
        await dead.die()
        await eventually(lambda: has_ended(store, Dead(org_id, "dead")), what="its lease has ended")
        await refused(store, living, Dead(org_id, "dead"))
        beaten = await living.beat()
        assert isinstance(beaten, Beaten)
        assert (beaten.registered, [each.incarnation for each in beaten.dead]) == (1, ["dead"])
        await read_if_together(store, org_id, moved)
    finally:
        move.finish()
    assert move.contents(move.target) == before
    assert await store.reap(org_id) == 1
    assert isinstance(await living.enter("c3", "ann"), Applied)
    members = await all_members(store, org_id)
    assert {name: each["connections"] for name, each in members.items()} == {"ann": 2}
    assert isinstance(beaten := await living.beat(), Beaten)
    assert (beaten.registered, beaten.dead) == (2, [])


async def has_ended(store: PresenceStore, dead: Dead) -> bool:
    """Tell whether an incarnation is seen to be dead: its last lease is a millisecond, too."""
    (found,) = await store.beat([Beat(dead.org_id)])
    return isinstance(found, Beaten) and dead in found.dead


async def refused(store: PresenceStore, living: Hand, dead: Dead) -> None:
    """Look that nothing can be changed."""
    enters, leaves = ("c3", Presentation(text_of("ann"), TIME)), ("c1", None)
    changes = [Changes(living.org_id, CHAT, living.incarnation, [each]) for each in (enters, leaves)]
    applied, reaped = await asyncio.gather(store.apply(changes), store.remove([dead]))
    assert [type(answer) for answer in applied] == [ClusterError] * 2
    assert (reaped.removed, reaped.is_done) == (0, False)


async def read_if_together(store: PresenceStore, org_id: UUID, moved: set[str]) -> None:
    """Look that a page is read where all that it is read of is at one server."""
    if len(moved & {"room", "connections", "members", "order"}) in (0, 4):
        assert (await store.page(org_id, CHAT, limit=10)).count == Count(2, 2)
    else:
        with pytest.raises(HubError, match="not available"):
            await store.page(org_id, CHAT, limit=10)


async def test_node_brings_in_afterwards_what_came_meanwhile(cluster: OwnCluster, redis: Redis, org_id: UUID):
    """Who joined and left is known once the slot has arrived; organisations of other slots hardly notice."""
    move = Move(cluster, org_id)
    async with node_on(cluster.url) as one, node_on(cluster.url) as two:
        await one.join(org_id, "c1", "ann")
        await two.join(org_id, "c2", "bob")
        move.begin(nodes_key(org_id))
        try:
            two.presence.leave(org_id, CHAT, "c2")
            for number in range(20):
                one.presence.join(org_id, f"chat:{number}", "ann", f"d{number}")
            two.presence.join(org_id, CHAT, "eve", "c3")
            await one.join(uuid4(), "c4", "who is patient for two seconds")
            with pytest.raises(HubError, match="not available"):
                await two.presence.joined(org_id, CHAT, "c3")
        finally:
            move.finish()
        await two.presence.joined(org_id, CHAT, "c3")

        async def those_are_there() -> bool:
            page = await two.presence.members(org_id, CHAT)
            return [each.subject for each in page.members] == ["ann", "eve"]

        # Leases were at another server before the rest, so nodes took other incarnations: who left meanwhile goes with the old one.
        await eventually(those_are_there)
        for number in range(20):
            await one.presence.joined(org_id, f"chat:{number}", f"d{number}")
        assert [node.presence.counts.lost_leases for node in (one, two)] == [0, 0]


@pytest.mark.slow
async def test_slot_that_moves_for_longer_than_a_lease(cluster: OwnCluster, redis: Redis, org_id: UUID):
    """Leases have moved already, the rest has not: nobody is taken for gone, neither meanwhile nor when it has arrived."""
    move = Move(cluster, org_id)
    async with node_on(cluster.url) as one, node_on(cluster.url) as two:
        reader = await two.hear(org_id)
        await one.join(org_id, "c1", "ann")
        await two.join(org_id, "c2", "bob")
        await eventually(lambda: reader.subjects == {"ann", "bob"})
        move.begin(nodes_key(org_id))
        try:
            await let_pass(LEASE_SECONDS + 2 * BEAT_SECONDS)  # the length is the fault
        finally:
            move.finish()
        one.presence.join(org_id, CHAT, "eve", "c3")
        await one.presence.joined(org_id, CHAT, "c3")
        await eventually(lambda: reader.subjects == {"ann", "bob", "eve"})
        await let_pass(2 * BEAT_SECONDS)  # whoever were taken for dead would be removed
        assert (reader.subjects, reader.told("left")) == ({"ann", "bob", "eve"}, [])
