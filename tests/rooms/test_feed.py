"""The feeds of a node over real engines: present organisations, order under faults, what a node leaves behind."""

import asyncio
import random
from uuid import UUID, uuid4

import pytest
from redis.exceptions import RedisError

from core.errors import HubError
from core.events.event import Entry
from core.store.pubsub import PING_SECONDS
from core.store.redis import connect_redis
from rooms.feed import QUIET_TICKS, TICK_SECONDS, Feeds
from rooms.tail import Tails
from rooms.wire import feed_channel, tail_key
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation
from tests.harness.valkey import OwnRedis
from tests.harness.waiting import eventually
from tests.rooms.engines import World, world
from tests.rooms.model import Chance, MemoryLog, Recording

pytestmark = pytest.mark.each_redis


async def handed_over_all(at: World, began_at: int = 0) -> None:
    """Wait until the sink has everything, once each, in order."""
    sink, writer = at.sink, at.writer
    await eventually(lambda: len(sink.since_reset) >= len(writer.entries) - began_at, what="all entries")
    assert sink.since_reset == writer.entries[began_at:]
    assert not sink.resets


async def time_passes(at: World, clock: ManualClock, seconds: float) -> None:
    """Move the clock on as slowly as Redis answers: whoever is pinged thrice in one moment would be taken for silent."""
    while seconds > 0:
        await clock.advance(min(seconds, PING_SECONDS))
        seconds -= PING_SECONDS
        for server in await at.writer.redis.masters():
            await server.ping()


async def subscribers(redis_url: str, org: Organisation) -> int:
    """Count who is subscribed to the organisation's feed."""
    async with connect_redis(redis_url) as client:
        ((_, count),) = await client.pubsub_shardnumsub(feed_channel(org.id))
    return count


async def test_feed_is_complete_from_its_head_on(database_url: str, redis_url: str, organisation: Organisation):
    """acquire() returns with the subscription confirmed and the head known: nothing after it is missed."""
    async with world(database_url, redis_url, organisation.id) as at:
        await at.writer.write(7)
        feed = await at.feeds.acquire(organisation.id)
        assert (feed.epoch, feed.last) == ("e1", 7)
        assert feed.ring_since(2) == at.writer.entries[2:], "the tail fills the ring"
        await at.writer.write(600)
        await handed_over_all(at, 7)


async def test_acquiring_while_the_log_grows(database_url: str, redis_url: str, organisation: Organisation):
    """Ten at once share one subscription; wherever the head is read, what follows it comes once."""
    async with world(database_url, redis_url, organisation.id) as at:
        writing = asyncio.ensure_future(keep_writing(at, 60))
        feeds = await asyncio.gather(*(at.feeds.acquire(organisation.id) for _ in range(10)))
        assert len(set(map(id, feeds))) == 1
        began_at = feeds[0].last - len(at.sink.since_reset)
        await writing
        await handed_over_all(at, began_at)
        assert await subscribers(redis_url, organisation) == 1


async def keep_writing(at: World, times: int) -> None:
    for _ in range(times):
        await at.writer.write(2)


async def test_gap_is_filled_from_postgres_when_the_tail_is_gone(
    database_url: str, redis_url: str, organisation: Organisation
):
    """Published to nobody, and lost from the tail: the next message shows the gap, PostgreSQL fills it."""
    async with world(database_url, redis_url, organisation.id) as at:
        await at.feeds.acquire(organisation.id)
        await at.writer.commit(1_200)
        at.writer.published = 1_200
        await at.writer.redis.delete(tail_key(organisation.id, "e1"))
        await at.writer.write(1)
        await handed_over_all(at)


async def test_gap_is_filled_from_the_tail(own_redis: OwnRedis, clock: ManualClock):
    """The tail is enough: PostgreSQL is not asked, and may be away."""
    log = MemoryLog(Chance(random.Random(1)))
    sink = Recording()
    org_id = uuid4()
    async with connect_redis(own_redis.url) as client:
        tails = Tails(client)
        feeds = Feeds(own_redis.url, tails=tails, log=log, clock=clock, sink=sink)
        await feeds.open()
        feed = await feeds.acquire(org_id)
        entries = [log.append("agents", f"{number}") for number in range(900)]
        await tails.publish(org_id, "e1", entries[:1])
        await eventually(lambda: feed.last == 1)
        log.hidden = set(range(901))
        # The messages go where nobody listens, as when the connection was down.
        await client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await tails.publish(org_id, "e1", entries[1:])

        async def complete() -> bool:
            await clock.advance(0.2)
            return feed.last == 900

        await eventually(complete)
        assert sink.since_reset == entries
        await feeds.close()


async def test_new_epoch_resets_and_goes_on(database_url: str, redis_url: str, organisation: Organisation):
    """The epoch is a row in PostgreSQL; a message with another one makes the node read it."""
    async with world(database_url, redis_url, organisation.id) as at:
        feed = await at.feeds.acquire(organisation.id)
        await at.writer.write(5)
        await handed_over_all(at)
        await at.writer.begin("e2")
        await at.writer.write(1)
        await eventually(lambda: at.sink.resets == [("e2", 6, "epoch")])
        await at.writer.write(2)
        await eventually(lambda: at.sink.positions == [7, 8])
        assert feed.epoch == "e2"


async def test_quiet_feed_is_compared_with_the_log(
    database_url: str, redis_url: str, organisation: Organisation, clock: ManualClock
):
    """Committed, and by a fault never published: found within the quiet time."""
    async with world(database_url, redis_url, organisation.id, clock=clock) as at:
        feed = await at.feeds.acquire(organisation.id)
        await at.writer.commit(3)
        await time_passes(at, clock, TICK_SECONDS * (QUIET_TICKS - 1))
        assert feed.last == 0
        await time_passes(at, clock, TICK_SECONDS)
        await handed_over_all(at)


async def test_left_organisation_is_unsubscribed_after_a_grace(
    database_url: str, redis_url: str, organisation: Organisation, clock: ManualClock
):
    """Not at once, so that who reconnects finds the ring; and not before the last one has left."""
    async with world(database_url, redis_url, organisation.id, clock=clock) as at:
        first = await at.feeds.acquire(organisation.id)
        assert await at.feeds.acquire(organisation.id) is first
        at.feeds.release(organisation.id)
        await time_passes(at, clock, TICK_SECONDS * 3)
        assert await subscribers(redis_url, organisation) == 1
        at.feeds.release(organisation.id)
        await time_passes(at, clock, TICK_SECONDS)
        assert await at.feeds.acquire(organisation.id) is first
        at.feeds.release(organisation.id)
        await time_passes(at, clock, TICK_SECONDS * 3)

        async def gone() -> bool:
            return await subscribers(redis_url, organisation) == 0

        await eventually(gone)
        await at.writer.write(4)
        again = await at.feeds.acquire(organisation.id)
        assert again is not first
        assert again.last == 4


async def test_cancelled_acquire_leaves_others_their_feed(
    database_url: str, redis_url: str, organisation: Organisation
):
    """The first to come may go before the feed is there."""
    async with world(database_url, redis_url, organisation.id) as at:
        first = asyncio.ensure_future(at.feeds.acquire(organisation.id))
        second = asyncio.ensure_future(at.feeds.acquire(organisation.id))
        await asyncio.sleep(0)
        first.cancel()
        feed = await second
        await at.writer.write(2)
        await handed_over_all(at)
        assert feed.last == 2


async def test_acquire_without_postgres_is_refused_and_works_later(own_redis: OwnRedis, clock: ManualClock):
    """SERVICE_UNAVAILABLE for all who wait; the next one tries again."""
    chance = Chance(random.Random(1), failures=1.0)
    log = MemoryLog(chance)
    async with connect_redis(own_redis.url) as client:
        feeds = Feeds(own_redis.url, tails=Tails(client), log=log, clock=clock, sink=Recording())
        await feeds.open()
        org_id = uuid4()
        answers = await asyncio.gather(*(feeds.acquire(org_id) for _ in range(3)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [HubError] * 3
        chance.failures = 0.0
        log.append("agents", "{}")
        assert (await feeds.acquire(org_id)).last == 1
        await feeds.close()


async def test_closing_ends_who_waits_for_redis(clock: ManualClock):
    feeds = Feeds(
        "unix:///tmp/there-is-no-such-socket",
        tails=Tails(connect_redis("unix:///tmp/there-is-no-such-socket")),
        log=MemoryLog(Chance(random.Random(1))),
        clock=clock,
        sink=Recording(),
    )
    await feeds.open()
    waiting = asyncio.ensure_future(feeds.acquire(uuid4()))
    await clock.settle()
    await feeds.close()
    with pytest.raises(HubError):
        await waiting


async def test_bug_in_the_background_is_raised_by_run(own_redis: OwnRedis, clock: ManualClock):
    """Nothing dies unseen: what is no HubError ends run()."""

    class Broken(MemoryLog):
        async def range(self, org_id: UUID, *, after: int, upto: int, limit: int) -> list[Entry]:
            raise ZeroDivisionError

    log = Broken(Chance(random.Random(1)))
    async with connect_redis(own_redis.url) as client:
        feeds = Feeds(own_redis.url, tails=Tails(client), log=log, clock=clock, sink=Recording())
        await feeds.open()
        running = asyncio.ensure_future(feeds.run())
        await feeds.acquire(uuid4())
        log.append("agents", "{}")
        feeds.check_all()
        with pytest.raises(ZeroDivisionError):
            await running
        await feeds.close()


@pytest.mark.parametrize("run", range(3))
async def test_redis_faults_under_a_stream_of_publishes(
    database_url: str, own_redis: OwnRedis, organisation: Organisation, run: int
):
    """35 faults a run, by a printed seed: every position reaches the sink once, in order."""
    seed = random.randrange(2**32)
    print(f"run {run}, seed {seed}")
    rng = random.Random(seed)
    async with world(database_url, own_redis.url, organisation.id) as at:
        await at.feeds.acquire(organisation.id)
        for _ in range(35):
            publishing = asyncio.ensure_future(relay(at, rng, rng.randrange(1, 8)))
            await hurt(at, own_redis, rng)
            await publishing
        await eventually(lambda: at.feeds.connected)
        await relay(at, rng, 1)
        await handed_over_all(at)


async def relay(at: World, rng: random.Random, batches: int) -> None:
    """Commit and publish, in spite of everything: what did not go out goes out later."""
    for _ in range(batches):
        await at.writer.commit(rng.choice((1, 3, 40)))
        try:
            if rng.random() < 0.1:
                at.writer.published = rng.randrange(at.writer.published + 1)  # another holder, that knows less
            await at.writer.publish()
        except (RedisError, OSError):
            await asyncio.sleep(0)


async def hurt(at: World, server: OwnRedis, rng: random.Random) -> None:
    """Do one thing that Redis, or whoever runs it, can do."""
    fault = rng.choices(("none", "cut", "flush", "kill", "empty"), (10, 40, 20, 10, 10))[0]
    if fault in ("kill", "empty"):
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.restart, empty=fault == "empty")
        return
    try:
        if fault == "cut":
            await at.writer.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        elif fault == "flush":
            await at.writer.redis.flushall()
    except (RedisError, OSError):
        return
