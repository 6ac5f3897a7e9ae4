"""Fences in a real Redis: who was outrun says nothing more, an end comes once, and a lost room is noticed."""

import asyncio
import random
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from core.errors import HubError
from core.store.redis import Redis, connect_redis
from rooms.fence import Fence, Outrun, RoomLost
from rooms.live_publisher import LivePublisher
from rooms.live_rules import LIVE
from rooms.live_store import Head, LiveStore
from rooms.live_wire import room_key
from rooms.tasks import Tasks
from tests.harness.valkey import OwnRedis
from tests.harness.waiting import eventually

pytestmark = pytest.mark.each_redis

ORG = uuid4()
RUN = f"runs:{uuid4()}"


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect_redis(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
def store(redis: Redis) -> LiveStore:
    return LiveStore(redis)


@pytest.fixture
async def publisher(store: LiveStore) -> AsyncIterator[LivePublisher]:
    tasks = Tasks()
    yield LivePublisher(store, tasks.spawn)
    await tasks.close()


async def told(store: LiveStore, channel: str = RUN) -> list[str]:
    return [entry.envelope for entry in (await store.read(ORG, channel, "after", 0, limit=500)).entries]


async def test_lower_number_is_dropped_and_takes_no_offset(store: LiveStore):
    """The room stays as it was; others of the same number go on."""
    await store.publish(ORG, RUN, "1", Fence("r", 4))
    with pytest.raises(Outrun):
        await store.publish(ORG, RUN, "2", Fence("r", 3))
    assert (await store.publish(ORG, RUN, "3", Fence("r", 4))).position == 2
    assert await told(store) == ["1", "3"]


async def test_end_comes_once_and_nothing_after_it(store: LiveStore):
    """An end has the number above that of the deltas; the next attempt goes on above it."""
    await store.publish(ORG, RUN, "delta", Fence("r", 2))
    await store.publish(ORG, RUN, "end", Fence("r", 3, once=True))
    for fence in (Fence("r", 3, once=True), Fence("r", 2)):
        with pytest.raises(Outrun):
            await store.publish(ORG, RUN, "late", fence)
    await store.publish(ORG, RUN, "another attempt", Fence("r", 4))
    assert await told(store) == ["delta", "end", "another attempt"]


async def test_large_numbers_are_compared_exactly_and_keys_apart(store: LiveStore):
    """A key may have blanks in it."""
    await store.publish(ORG, RUN, "1", Fence("a b", 10**15 + 1))
    with pytest.raises(Outrun):
        await store.publish(ORG, RUN, "2", Fence("a b", 10**15))
    await store.publish(ORG, RUN, "3", Fence("a", 1))
    await store.publish(ORG, RUN, "4")
    assert await told(store) == ["1", "3", "4"]


async def test_room_of_another_epoch_is_told(store: LiveStore, redis: Redis):
    """Nothing is published, and the fence is not moved; the room that is told can be gone on in."""
    head = await store.publish(ORG, RUN, "1", Fence("r", 2))
    await store.publish(ORG, RUN, "2", Fence("r", 2, epoch=head.epoch))
    await redis.delete(room_key(ORG, RUN))
    with pytest.raises(RoomLost) as lost:
        await store.publish(ORG, RUN, "3", Fence("r", 8, epoch=head.epoch))
    assert await redis.ttl(room_key(ORG, RUN)) > 0
    again = await store.publish(ORG, RUN, "4", Fence("r", 2, epoch=lost.value.epoch))
    assert again == Head(lost.value.epoch, 1)
    assert await told(store) == ["4"]


async def test_refused_event_of_a_turn_costs_its_caller_only(publisher: LivePublisher, store: LiveStore):
    """Those of one turn have fences of their own, keep their order, and know their own offsets."""
    head = await publisher.publish(ORG, RUN, "0", Fence("r", 4))
    fences = [
        Fence("r", 4),
        Fence("r", 3),
        None,
        Fence("r", 4, epoch="another"),
        Fence("r", 5, once=True),
        Fence("r", 5, once=True),
        Fence("r", 4, epoch=head.epoch),
        Fence("s", 1),
    ]
    outcomes = await asyncio.gather(
        *(publisher.publish(ORG, RUN, str(at), fence) for at, fence in enumerate(fences, 1)), return_exceptions=True
    )
    shown = [outcome.position if isinstance(outcome, Head) else type(outcome) for outcome in outcomes]
    assert shown == [2, Outrun, 3, RoomLost, 4, Outrun, Outrun, 5]
    assert await told(store) == ["0", "1", "3", "5", "8"]


async def test_fence_in_a_room_that_is_carried(publisher: LivePublisher, store: LiveStore):
    """What is dropped is missing in neither."""
    fences = [Fence("r", 2), Fence("r", 1), Fence("r", 2)]
    await asyncio.gather(
        *(publisher.publish(ORG, "users:me", str(at), fence) for at, fence in enumerate(fences)), return_exceptions=True
    )
    assert await told(store, "users:me") == await told(store, "users") == ["0", "2"]


async def test_two_writers_never_mix(store: LiveStore, redis: Redis):
    """Whoever takes a run up outruns who had it, wherever both are; of two ends one is told."""
    other = LiveStore(redis)
    for seed in range(20):
        channel = f"runs:{seed}"
        rolls = random.Random(seed)

        async def write(place: LiveStore, attempt: int, rolls: random.Random = rolls, channel: str = channel) -> None:
            try:
                for number in range(rolls.randrange(1, 12)):
                    await place.publish(ORG, channel, f"{attempt}.{number}", Fence("r", 2 * attempt))
                    for _ in range(rolls.randrange(3)):
                        await asyncio.sleep(0)
                for _ in range(2):
                    await place.publish(ORG, channel, f"{attempt}.end", Fence("r", 2 * attempt + 1, once=True))
            except Outrun:
                return

        await asyncio.gather(write(store, 1), write(other, 2))
        said = await told(store, channel)
        attempts = [each[0] for each in said]
        assert attempts == sorted(attempts), said
        assert said.count("2.end") == 1, said
        assert said.count("1.end") <= 1, said


async def test_room_forgets_the_oldest_of_many_fences(store: LiveStore, redis: Redis):
    """A session has one for each of its runs, for as long as it is spoken in."""
    channel = f"sessions:{uuid4()}"
    for number in range(400):
        await store.publish(ORG, channel, "1", Fence(f"{number:04}", 1, once=True))
    assert await redis.hlen(room_key(ORG, channel)) <= 256  # pyright: ignore[reportGeneralTypeIssues]
    with pytest.raises(Outrun):
        await store.publish(ORG, channel, "2", Fence("0399", 1, once=True))


async def test_redis_that_starts_anew_has_lost_the_room(own_redis: OwnRedis):
    """Also where its data came back: what was said last may be missing."""
    client = connect_redis(own_redis.url)
    try:
        store = LiveStore(client)
        head = await store.publish(ORG, RUN, "1", Fence("r", 2))
        own_redis.restart()
        with pytest.raises(RoomLost):
            await eventually(
                lambda: store.publish(ORG, RUN, "2", Fence("r", 2, epoch=head.epoch)),
                retry_on=(HubError,),
                what="Redis",
            )
    finally:
        await client.aclose()


async def test_everything_of_a_fenced_room_expires(store: LiveStore, redis: Redis):
    """Also where the first word was refused."""
    with pytest.raises(RoomLost):
        await store.publish(ORG, RUN, "1", Fence("r", 1, epoch="lost"))
    assert 0 < await redis.ttl(room_key(ORG, RUN)) <= LIVE["runs"].remembered
