"""Live rooms in a real Redis: offsets, bounded histories, epochs, what is left when Redis loses something."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from redis.exceptions import ClusterError

from core.errors import HubError
from core.store.redis import Redis, connect_redis
from core.store.slot_map import slot_of
from rooms.live_rules import CARRIER, LIVE
from rooms.live_store import AT_ONCE, Head, Letter, Letters, LiveStore
from rooms.live_wire import LiveEntry, history_key, room_key
from tests.harness.cluster import OwnCluster
from tests.harness.valkey import OwnRedis

pytestmark = pytest.mark.each_redis

ORG = uuid4()
CHAT, PERSON = "chat:a", "users:me"


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect_redis(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
def store(redis: Redis) -> LiveStore:
    return LiveStore(redis)


async def publish(store: LiveStore, count: int, channel: str = CHAT, *, padding: int = 0) -> None:
    for number in range(count):
        await store.publish(ORG, channel, f'{{"n":{number},"x":"{"x" * padding}"}}')


async def rows_of(redis: Redis, key: str) -> list[Any]:
    return list(await redis.xrange(key) or ())


def offsets(entries: Sequence[LiveEntry]) -> list[int]:
    return [entry.position for entry in entries]


async def test_offsets_are_dense_and_histories_can_be_paged(store: LiveStore):
    """Upwards from an offset, downwards below one."""
    heads = [await store.publish(ORG, CHAT, str(number)) for number in range(7)]
    assert [head.position for head in heads] == [1, 2, 3, 4, 5, 6, 7]
    found = await store.read(ORG, CHAT, "after", 2, limit=3)
    assert offsets(found.entries) == [3, 4, 5]
    assert [entry.envelope for entry in found.entries] == ["2", "3", "4"]
    assert found.head == heads[-1] == found.carrier
    assert offsets((await store.read(ORG, CHAT, "before", 4, limit=2)).entries) == [2, 3]
    assert offsets((await store.read(ORG, CHAT, "before", limit=2)).entries) == [6, 7]
    assert (await store.read(ORG, CHAT, "after", 7, limit=2)).entries == []
    for bound in (0, 1):
        assert (await store.read(ORG, CHAT, "before", bound, limit=2)).entries == [], "nothing is below the first"


async def test_hundred_at_once_get_hundred_offsets(store: LiveStore):
    """Offsets are given by Redis, one at a time."""
    heads = await asyncio.gather(*(store.publish(ORG, CHAT, str(number)) for number in range(100)))
    assert sorted(head.position for head in heads) == list(range(1, 101))


async def test_room_that_was_read_first_keeps_its_epoch(store: LiveStore):
    """A subscriber of an empty room has a place that counts."""
    empty = await store.read(ORG, CHAT, limit=1)
    first = await store.publish(ORG, CHAT, "1")
    assert (empty.head.position, first.position) == (0, 1)
    assert empty.head.epoch == first.epoch


async def test_persons_have_offsets_of_their_own_and_one_carrier(store: LiveStore):
    """A room is dense in itself; the carrier is dense over all of them."""
    for channel in (PERSON, "users:you", PERSON):
        await store.publish(ORG, channel, f'"{channel}"')
    mine = await store.read(ORG, PERSON, "after", 0, limit=10)
    assert offsets(mine.entries) == [1, 2]
    assert {entry.epoch for entry in mine.entries} == {mine.head.epoch} != {mine.carrier.epoch}
    carried = await store.read(ORG, "users", "after", 0, limit=10)
    assert mine.carrier == carried.head
    assert [(entry.sequence, entry.channel, entry.position) for entry in carried.entries] == [
        (1, PERSON, 1),
        (2, "users:you", 1),
        (3, PERSON, 2),
    ]


async def test_history_is_bounded_by_entries_and_bytes(store: LiveStore, redis: Redis):
    """The latest stay; the count of bytes is exact."""
    rules = LIVE["users"]
    await publish(store, rules.history_entries + 20, PERSON)
    assert await redis.xlen(history_key(ORG, PERSON)) == rules.history_entries
    await publish(store, 40, PERSON, padding=15_000)
    rows = await rows_of(redis, history_key(ORG, PERSON))
    size = sum(len(fields[b"m"]) for _, fields in rows)
    assert rules.history_bytes - 16_000 < size <= rules.history_bytes
    assert int(await redis.hget(room_key(ORG, PERSON), "bytes") or 0) == size  # pyright: ignore[reportGeneralTypeIssues]
    assert rows[-1][0] == b"%d-0" % (rules.history_entries + 60)


async def test_old_entries_go_with_the_next_and_are_not_shown(store: LiveStore, redis: Redis):
    """Age counts when something is published, and when something is read."""
    history = history_key(ORG, CHAT)
    await store.publish(ORG, CHAT, "1")
    ((entry_id, fields),) = await rows_of(redis, history)
    old = int(fields[b"t"]) - LIVE["chat"].history_seconds * 1000 - 2000
    await redis.delete(history)
    await redis.xadd(history, {"t": old, "m": fields[b"m"]}, id=entry_id)
    assert (await store.read(ORG, CHAT, "after", 0, limit=10)).entries == []
    await store.publish(ORG, CHAT, "2")
    assert [entry_id for entry_id, _ in await rows_of(redis, history)] == [b"2-0"]


async def test_everything_expires(store: LiveStore, redis: Redis):
    """The history first; the room is remembered longer, so that offsets go on."""
    await publish(store, 1, PERSON)
    for channel, rules in ((PERSON, LIVE["users"]), ("users", replace(CARRIER))):
        assert 0 < await redis.ttl(history_key(ORG, channel)) <= rules.history_seconds
        assert rules.history_seconds < await redis.ttl(room_key(ORG, channel)) <= rules.remembered
    await store.read(ORG, CHAT, limit=1)
    assert await redis.ttl(room_key(ORG, CHAT)) > 0


async def test_room_whose_hash_is_gone_begins_anew(store: LiveStore, redis: Redis):
    """Evicted alone, it takes its history with it: offsets of two epochs are never mixed."""
    await publish(store, 5)
    before = await store.read(ORG, CHAT, limit=1)
    await redis.delete(room_key(ORG, CHAT))
    await publish(store, 2)
    after = await store.read(ORG, CHAT, "after", 0, limit=10)
    assert after.head.epoch != before.head.epoch
    assert offsets(after.entries) == [1, 2]


async def test_history_that_is_gone_alone_is_noticed(store: LiveStore, redis: Redis):
    """Offsets go on, and what is read does not continue."""
    await publish(store, 5)
    await redis.delete(history_key(ORG, CHAT))
    await publish(store, 1)
    found = await store.read(ORG, CHAT, "after", 3, limit=10)
    assert offsets(found.entries) == [6]
    assert not found.continues(3)
    assert found.continues(5)
    assert found.continues(6)


async def test_heads_of_many_at_one_moment(store: LiveStore):
    """Rooms that nobody has used are there afterwards."""
    await publish(store, 3)
    chat, person, _ = await store.heads(ORG, [CHAT, PERSON, "users"])
    assert (chat.position, person.position) == (3, 0)
    assert (await store.read(ORG, PERSON, limit=1)).head == person
    assert (await store.read(ORG, CHAT, limit=1)).head == chat


@pytest.mark.parametrize("empty", [False, True])
async def test_restart_begins_a_new_epoch(own_redis: OwnRedis, empty: bool):
    """Whatever it has kept. What it has kept can still be read as history."""
    redis = connect_redis(own_redis.url)
    store = LiveStore(redis)
    await publish(store, 3)
    before = (await store.read(ORG, CHAT, limit=1)).head
    await asyncio.to_thread(own_redis.kill)
    with pytest.raises(HubError) as refused:
        await store.publish(ORG, CHAT, "4")
    assert refused.value.code == "SERVICE_UNAVAILABLE"
    await asyncio.to_thread(own_redis.restart, empty=empty)
    after = await store.read(ORG, CHAT, "before", limit=10)
    assert after.head.epoch != before.epoch
    assert after.head.position == len(after.entries) == (0 if empty else 3)
    await redis.aclose()


async def test_room_that_moves_and_comes_back_has_an_epoch_of_its_own_each_time(cluster: OwnCluster):
    """Else offsets that were lost on the way would be given twice in one epoch, and who knows the first would miss the second."""
    cluster.flush()
    redis = connect_redis(cluster.url)
    store = LiveStore(redis)
    key = room_key(ORG, CHAT)

    async def published() -> str:
        return (await store.publish(ORG, CHAT, "1")).epoch

    async def read() -> str:
        return (await store.read(ORG, CHAT, limit=1)).head.epoch

    async def asked() -> str:
        return (await store.heads(ORG, [CHAT]))[0].epoch

    epochs = [await published()]
    places: list[int] = []
    for find_out in (published, read, asked, published, read, asked):
        places.append((await asyncio.to_thread(cluster.migrate, key, atomically=False)).port)
        epochs.append(await find_out())
        assert [await published(), await read(), await asked()] == epochs[-1:] * 3
    assert len(set(places)) < len(places), "it has come back"
    assert len(set(epochs)) == len(epochs)
    assert offsets((await store.read(ORG, CHAT, "before", limit=20)).entries) == list(range(1, 10)), "nothing is lost"
    await redis.aclose()


async def test_room_whose_keys_are_on_their_way_refuses_no_other(cluster: OwnCluster):
    """What was published together and was refused goes room by room; each room's events stay in order."""
    cluster.flush()
    redis = connect_redis(cluster.url)
    store = LiveStore(redis)
    here, there, both = "chat:here", "chat:there", "chat:both"
    for channel in (here, there, both):
        await publish(store, 1, channel)
    slot = slot_of(room_key(ORG, here))
    source = cluster.owner(slot)
    target = cluster.another(source)
    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
    moved = (room_key(ORG, there), history_key(ORG, there), room_key(ORG, both))
    source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *moved)
    try:
        many = [Letter(str(number)) for number in range(AT_ONCE)]
        sent = [(there, many), (here, many[:1]), (both, many[:1]), (there, many[:2])]
        answers = await store.publish_each([Letters(ORG, channel, letters) for channel, letters in sent])
        assert isinstance(answers[2], ClusterError)
        del answers[2]
        places = [
            [each.position for each in some if isinstance(each, Head)] for some in answers if isinstance(some, list)
        ]
        assert places == [[*range(2, 66)], [2], [66, 67]]
    finally:
        await asyncio.to_thread(cluster.move_by_keys, slot, source, target)
    assert (await store.publish(ORG, both, "1")).position == 2
    await redis.aclose()


async def test_room_refused_before_its_later_events_stays_refused(cluster: OwnCluster):
    """Where those have gone out, events are not sent again behind them."""
    cluster.flush()
    redis = connect_redis(cluster.url)
    store = LiveStore(redis)
    for channel in ("chat:here", "chat:there"):
        await publish(store, 1, channel)
    slot = slot_of(room_key(ORG, "chat:here"))
    source = cluster.owner(slot)
    target = cluster.another(source)
    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
    moved = (room_key(ORG, "chat:there"), history_key(ORG, "chat:there"))
    source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *moved)
    try:
        many = [Letter(str(number)) for number in range(AT_ONCE)]
        sent = [("chat:there", many[:1]), ("chat:here", many[:1]), ("chat:here", many)]
        first, second, third = await store.publish_each([Letters(ORG, channel, letters) for channel, letters in sent])
        assert isinstance(first, list)
        assert isinstance(second, ClusterError)
        assert isinstance(third, list)
    finally:
        await asyncio.to_thread(cluster.move_by_keys, slot, source, target)
    await redis.aclose()


async def test_organisations_are_apart(store: LiveStore):
    """The same name, another room."""
    await publish(store, 3)
    other: UUID = uuid4()
    assert (await store.read(other, CHAT, limit=5)).head.position == 0
