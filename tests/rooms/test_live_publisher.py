"""Publishing together: what one turn of the loop brings is one call for some rooms of an organisation, and nobody notices."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest

from core.errors import HubError
from core.store.redis import Redis, connect_redis
from rooms.fence import Fence, Outrun, RoomLost
from rooms.live_publisher import ORGANISATION_AT_ONCE, LivePublisher
from rooms.live_store import AT_ONCE, ROOMS_AT_ONCE, Head, Letters, LiveStore, Outcome
from rooms.tasks import Tasks
from tests.harness.valkey import OwnRedis

ORG, OTHER = uuid4(), uuid4()


@pytest.fixture
async def redis(own_redis: OwnRedis) -> AsyncIterator[Redis]:
    client = connect_redis(own_redis.url)
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


async def calls(redis: Redis) -> int:
    """Return how many script calls Redis has answered."""
    stats: Any = await redis.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("eval", "evalsha"))


async def test_one_turn_is_one_call_an_organisation(publisher: LivePublisher, redis: Redis):
    """Bounded, so that Redis is never held up for long; alone an event is one call too."""
    await publisher.publish(ORG, "chat:a", "0")
    before = await calls(redis)
    rooms = [(ORG, "chat:a"), (ORG, "chat:b"), (OTHER, "chat:a")]
    await asyncio.gather(*(publisher.publish(*rooms[number % 3], str(number)) for number in range(60)))
    assert await calls(redis) - before == 2
    await asyncio.gather(*(publisher.publish(ORG, "chat:a", str(number)) for number in range(AT_ONCE + 1)))
    assert await calls(redis) - before == 4
    await asyncio.gather(*(publisher.publish(ORG, f"chat:{number}", "0") for number in range(ROOMS_AT_ONCE + 1)))
    assert await calls(redis) - before == 6


async def test_order_of_a_turn_is_kept(publisher: LivePublisher, store: LiveStore):
    """Each event has the offset and the epoch that its history has, in a room of its own and in one that is carried."""
    for channel in ("chat:a", "users:me"):
        count = 3 * AT_ONCE // 2
        heads = await asyncio.gather(*(publisher.publish(ORG, channel, str(number)) for number in range(count)))
        assert [head.position for head in heads] == list(range(1, count + 1))
        found = await store.read(ORG, channel, "after", 0, limit=count)
        assert [entry.envelope for entry in found.entries] == [str(number) for number in range(count)]
        assert {head.epoch for head in heads} == {found.head.epoch}
    await asyncio.gather(*(publisher.publish(ORG, f"users:{number % 2}", str(number)) for number in range(6)))
    carried = (await store.read(ORG, "users", "before", limit=6)).entries
    assert [(entry.channel, entry.position) for entry in carried] == [
        (f"users:{room}", offset) for room in (0, 1) for offset in (1, 2, 3)
    ]
    assert [entry.sequence for entry in carried] == list(range(carried[0].sequence, carried[0].sequence + 6))


async def test_rooms_of_one_call_have_each_its_own_outcome(publisher: LivePublisher, store: LiveStore, redis: Redis):
    """Whatever carries them, and what a fence holds back in one is told to nobody else."""
    await publisher.publish(ORG, "chat:a", "0", Fence("run", 2))
    before = await calls(redis)
    channels = ("chat:a", "users:me", "chat:b", "chat:a", "users:you", "chat:c")
    fences = (Fence("run", 1), None, Fence("run", 1), None, None, Fence("run", 1, epoch="another"))
    asked = (publisher.publish(ORG, channel, "1", fence) for channel, fence in zip(channels, fences, strict=True))
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert await calls(redis) - before == 1
    places = [each.position if isinstance(each, Head) else type(each) for each in answers]
    assert places == [Outrun, 1, 1, 2, 1, RoomLost]
    kept = {channel: (await store.read(ORG, channel, "after", 0, limit=9)).entries for channel in channels}
    assert {channel: len(entries) for channel, entries in kept.items()} == {
        "chat:a": 2, "users:me": 1, "chat:b": 1, "users:you": 1, "chat:c": 0,
    }  # fmt: skip
    carried = await store.read(ORG, "users", "before", limit=9)
    assert [each.channel for each in carried.entries] == ["users:me", "users:you"]


async def test_others_do_not_wait_for_who_publishes_much(store: LiveStore):
    """A thousand events of one organisation go by bounded pipelines, one after the other; another's one goes at once."""
    order: list[tuple[int, set[UUID]]] = []

    class Seen(LiveStore):
        async def publish_each(self, letters: Sequence[Letters]) -> list[list[Outcome] | Exception]:
            order.append((sum(len(each.letters) for each in letters), {each.org_id for each in letters}))
            return await store.publish_each(letters)

    tasks = Tasks()
    publisher = LivePublisher(Seen(connect_redis("redis://127.0.0.1:1")), tasks.spawn)
    noisy = [asyncio.ensure_future(publisher.publish(ORG, f"chat:{n % 5}", str(n))) for n in range(1000)]
    quiet = asyncio.ensure_future(publisher.publish(OTHER, "chat:a", "1"))
    await quiet
    assert sum(each.done() for each in noisy) <= 2 * ORGANISATION_AT_ONCE
    heads = await asyncio.gather(*noisy)
    await tasks.close()
    assert all(len(organisations) == 1 for _, organisations in order)
    assert max(size for size, _ in order) < ORGANISATION_AT_ONCE + AT_ONCE
    # One pipeline of an organisation at a time: so each room's events stay in the order of the calls.
    for room in range(5):
        positions = [head.position for number, head in enumerate(heads) if number % 5 == room]
        assert positions == list(range(1, 201))


async def test_script_that_redis_has_forgotten(publisher: LivePublisher, redis: Redis, store: LiveStore):
    """It is told again, and each event goes out once."""
    await publisher.publish(ORG, "chat:a", "0")
    await redis.script_flush()
    heads = await asyncio.gather(*(publisher.publish(ORG, f"chat:{room}", "1") for room in "aabb"))
    assert [head.position for head in heads] == [2, 3, 1, 2]
    assert len((await store.read(ORG, "chat:a", "after", 0, limit=10)).entries) == 3


async def test_who_leaves_takes_no_other_with_him(publisher: LivePublisher):
    """The event of one that was cancelled may go out; the others have their answers."""
    asked = [asyncio.ensure_future(publisher.publish(ORG, "chat:a", str(number))) for number in range(3)]
    await asyncio.sleep(0)
    asked[1].cancel()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(answers[1], asyncio.CancelledError)
    assert [answer.position for answer in (answers[0], answers[2]) if not isinstance(answer, BaseException)] == [1, 3]


async def test_without_redis_everyone_is_refused(publisher: LivePublisher, own_redis: OwnRedis):
    """Each with an error of its own; afterwards it goes on."""
    await publisher.publish(ORG, "chat:a", "0")
    own_redis.kill()
    asked = (publisher.publish(ORG, f"chat:{room}", "1") for room in "aab")
    refused = await asyncio.gather(*asked, return_exceptions=True)
    assert [error.code for error in refused if isinstance(error, HubError)] == ["SERVICE_UNAVAILABLE"] * 3
    assert len(set(map(id, refused))) == 3
    own_redis.start()
    assert (await publisher.publish(ORG, "chat:a", "2")).position == 2


async def test_end_of_the_owner_ends_who_waits(store: LiveStore, own_redis: OwnRedis):
    """Nobody waits for an answer that cannot come any more."""
    tasks = Tasks()
    publisher = LivePublisher(store, tasks.spawn)
    await publisher.publish(ORG, "chat:a", "0")
    own_redis.pause()
    waiting = asyncio.ensure_future(publisher.publish(ORG, "chat:a", "1"))
    for _ in range(3):
        await asyncio.sleep(0)
    await tasks.close()
    with pytest.raises(HubError, match="SERVICE_UNAVAILABLE"):
        await waiting
    own_redis.resume()


@pytest.mark.parametrize("turns", range(4))
async def test_end_of_the_node_leaves_nobody_waiting(store: LiveStore, turns: int):
    """Whenever it comes, also before the turn in which what waits would be sent."""
    tasks = Tasks()
    publisher = LivePublisher(store, tasks.spawn)
    waiting = asyncio.create_task(publisher.publish(ORG, "chat:a", "0"))
    for _ in range(turns):
        await asyncio.sleep(0)
    await tasks.close()
    with pytest.raises(HubError):
        await asyncio.wait_for(waiting, 5)
    with pytest.raises(HubError):
        await asyncio.wait_for(publisher.publish(ORG, "chat:a", "1"), 5)
