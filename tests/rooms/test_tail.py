"""Tails on a real Redis: published once, refused when late, trimmed exactly, read whole or not at all."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from redis.exceptions import RedisError, ResponseError

from core.clock import SystemClock
from core.events.event import Entry
from core.store.pubsub import PubSub
from core.store.redis import Redis, connect_redis
from rooms.tail import LIFETIME_SECONDS, Tails
from rooms.wire import decode, encode, feed_channel, tail_key
from tests.harness.valkey import OwnRedis
from tests.harness.waiting import eventually

pytestmark = pytest.mark.each_redis

EPOCH = "e1"
Hearing = Callable[[], list[int]]


def entries(first: int, last: int, size: int = 20) -> list[Entry]:
    return [Entry(position, "agents:x", "x" * size) for position in range(first, last + 1)]


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect_redis(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
def org() -> UUID:
    return uuid4()


@pytest.fixture
async def heard(redis_url: str, org: UUID) -> AsyncIterator[list[int]]:
    """The positions that subscribers of the organisation's feed hear."""
    positions: list[int] = []

    def on_batch(batch: list[tuple[str, bytes]]) -> None:
        for _, payload in batch:
            message = decode(payload)
            assert message is not None
            positions.append(message[1].position)

    pubsub = PubSub(redis_url, clock=SystemClock(), on_batch=on_batch, on_connected=lambda _: None)
    await pubsub.open()
    await pubsub.subscribe(feed_channel(org))
    yield positions
    await pubsub.close()


async def heard_all(heard: list[int], expected: list[int]) -> None:
    await eventually(lambda: len(heard) >= len(expected), what=f"{len(expected)} messages")
    assert heard == expected


async def kept(redis: Redis, org: UUID) -> tuple[list[int], int, int]:
    """Return the positions in the tail, the bytes of their messages, and what the counter says."""
    rows: Any = await redis.xrange(tail_key(org, EPOCH))
    counted = await redis.get(f"{tail_key(org, EPOCH)}:bytes")
    return (
        [int(row[0].split(b"-")[0]) for row in rows],
        sum(len(row[1][b"m"]) for row in rows),
        int(counted or 0),
    )


class TestPublish:
    async def test_twice_is_once(self, redis: Redis, org: UUID, heard: list[int]):
        """A relay that does not know what went out publishes all of it again."""
        tails = Tails(redis)
        await tails.publish(org, EPOCH, entries(1, 5))
        await tails.publish(org, EPOCH, entries(1, 5))
        await tails.publish(org, EPOCH, entries(3, 8))
        await heard_all(heard, list(range(1, 9)))
        assert await tails.read(org, EPOCH, after=0, upto=8) == entries(1, 8)

    async def test_late_publish_is_refused(self, redis: Redis, org: UUID, heard: list[int]):
        """A relay that was stopped and woken later says nothing new; not even where positions were left out."""
        tails = Tails(redis)
        await tails.publish(org, EPOCH, entries(10, 12))
        await tails.publish(org, EPOCH, entries(5, 11))
        await tails.publish(org, EPOCH, entries(13, 13))
        await heard_all(heard, [10, 11, 12, 13])

    async def test_more_than_a_batch(self, redis: Redis, org: UUID, heard: list[int]):
        await Tails(redis).publish(org, EPOCH, entries(1, 1_234))
        await heard_all(heard, list(range(1, 1_235)))

    async def test_epochs_are_apart(self, redis: Redis, org: UUID, heard: list[int]):
        """A new epoch may begin below where the old one was."""
        tails = Tails(redis)
        await tails.publish(org, "old", entries(7, 9))
        await tails.publish(org, "new", entries(8, 8))
        await heard_all(heard, [7, 8, 9, 8])

    async def test_both_keys_expire(self, redis: Redis, org: UUID):
        await Tails(redis).publish(org, EPOCH, entries(1, 1))
        for key in (tail_key(org, EPOCH), f"{tail_key(org, EPOCH)}:bytes"):
            assert 0 < await redis.ttl(key) <= LIFETIME_SECONDS

    async def test_other_errors_of_redis_are_raised(self, own_redis: OwnRedis, org: UUID):
        """Only "not above the top" is taken for published; a Redis out of memory is not."""
        async with connect_redis(own_redis.url) as redis:
            await redis.config_set("maxmemory", 1)
            with pytest.raises(ResponseError):
                await Tails(redis).publish(org, EPOCH, entries(1, 1))
            await redis.config_set("maxmemory", 0)
            await redis.set(tail_key(org, EPOCH), "no stream")
            with pytest.raises(ResponseError):
                await Tails(redis).publish(org, EPOCH, entries(1, 1))

    async def test_redis_away_is_raised(self, own_redis: OwnRedis, org: UUID):
        async with connect_redis(own_redis.url) as redis:
            own_redis.kill()
            with pytest.raises((RedisError, OSError)):
                await Tails(redis).publish(org, EPOCH, entries(1, 1))

    async def test_script_is_known_again_after_a_restart(self, own_redis: OwnRedis, org: UUID):
        """Called by hash; a server that lost its scripts gets the text."""
        async with connect_redis(own_redis.url) as redis:
            tails = Tails(redis)
            await tails.publish(org, EPOCH, entries(1, 1))
            await redis.script_flush()
            await tails.publish(org, EPOCH, entries(2, 2))
            assert await tails.read(org, EPOCH, after=0, upto=2) == entries(1, 2)


class TestTrim:
    async def test_bytes_are_exact_and_the_oldest_go(self, redis: Redis, org: UUID):
        """After every publish the counter is the sum of what is kept, within both bounds, and what is kept is the end."""
        seed = random.randrange(2**32)
        print(f"seed {seed}")
        rng = random.Random(seed)
        tails = Tails(redis, max_entries=150, max_bytes=20_000)
        published: list[Entry] = []
        for _ in range(60):
            batch = [
                Entry(len(published) + 1 + index, "agents", "ä" * rng.choice([1, 10, 100, 1_000]))
                for index in range(rng.choice([1, 2, 30, 200]))
            ]
            published += batch
            await tails.publish(org, EPOCH, batch)
            positions, total, counted = await kept(redis, org)
            assert counted == total <= 20_000
            assert len(positions) <= 150
            assert positions == list(range(len(published) - len(positions) + 1, len(published) + 1))
            # One more would have been too many: nothing goes early.
            if len(positions) < min(150, len(published)):
                assert total + len(encode(EPOCH, published[-len(positions) - 1])) > 20_000

    async def test_entry_over_the_bound_goes_out(self, redis: Redis, org: UUID, heard: list[int]):
        """It is published, if not kept; the tail goes on after it, and refuses below it."""
        tails = Tails(redis, max_bytes=1_000)
        await tails.publish(org, EPOCH, entries(1, 3) + entries(4, 4, size=5_000))
        assert await kept(redis, org) == ([], 0, 0)
        await tails.publish(org, EPOCH, entries(2, 6))
        await heard_all(heard, [1, 2, 3, 4, 5, 6])
        assert (await kept(redis, org))[0] == [5, 6]

    @pytest.mark.parametrize("lost", ["", ":bytes"])
    async def test_one_key_evicted_alone(self, redis: Redis, org: UUID, lost: str):
        """The counter is right again after the next publish, whichever of the two keys was lost."""
        tails = Tails(redis)
        await tails.publish(org, EPOCH, entries(1, 10))
        await redis.delete(f"{tail_key(org, EPOCH)}{lost}")
        await tails.publish(org, EPOCH, entries(11, 12))
        positions, total, counted = await kept(redis, org)
        assert positions == [11, 12]
        assert total == counted


class TestRead:
    async def test_range_is_whole_or_none(self, redis: Redis, org: UUID):
        tails = Tails(redis, max_entries=10)
        await tails.publish(org, EPOCH, entries(1, 20))
        assert await tails.read(org, EPOCH, after=10, upto=20) == entries(11, 20)
        assert await tails.read(org, EPOCH, after=12, upto=15) == entries(13, 15)
        assert await tails.read(org, EPOCH, after=20, upto=20) == []
        assert await tails.read(org, EPOCH, after=9, upto=20) is None, "trimmed"
        assert await tails.read(org, EPOCH, after=12, upto=21) is None, "not there yet"
        assert await tails.read(org, "other", after=12, upto=15) is None
        assert await tails.read(uuid4(), EPOCH, after=12, upto=15) is None

    async def test_hole_is_none(self, redis: Redis, org: UUID):
        """After Redis lost its data a tail may begin anywhere, and a late relay may have spoken into it first."""
        tails = Tails(redis)
        await tails.publish(org, EPOCH, entries(3, 4) + entries(7, 9))
        assert await tails.read(org, EPOCH, after=2, upto=9) is None
        assert await tails.read(org, EPOCH, after=6, upto=9) == entries(7, 9)

    async def test_latest_ends_at_the_position_without_a_hole(self, redis: Redis, org: UUID):
        tails = Tails(redis)
        assert await tails.latest(org, EPOCH, upto=0, limit=10) == []
        await tails.publish(org, EPOCH, entries(3, 4) + entries(7, 12))
        assert await tails.latest(org, EPOCH, upto=10, limit=100) == entries(7, 10)
        assert await tails.latest(org, EPOCH, upto=10, limit=2) == entries(9, 10)
        assert await tails.latest(org, EPOCH, upto=14, limit=100) == []

    async def test_unreadable_redis_does_not_help(self, own_redis: OwnRedis, org: UUID):
        async with connect_redis(own_redis.url) as redis:
            own_redis.kill()
            tails = Tails(redis)
            assert await tails.read(org, EPOCH, after=0, upto=1) is None
            assert await tails.latest(org, EPOCH, upto=1, limit=1) == []

    async def test_tops_of_an_epoch(self, redis: Redis):
        """The highest position ever published, whatever of it was trimmed."""
        tails = Tails(redis, max_bytes=1_000)
        one, other, big = uuid4(), uuid4(), uuid4()
        await asyncio.gather(
            tails.publish(one, EPOCH, entries(1, 7)),
            tails.publish(other, EPOCH, entries(5, 5)),
            tails.publish(big, EPOCH, entries(9, 9, size=2_000)),
            tails.publish(one, "older", entries(1, 99)),
        )
        assert await tails.tops(EPOCH) == {one: 7, other: 5, big: 9}
        assert await tails.tops("unknown") == {}
