"""Requests are limited for all nodes together, exactly; without Redis nearly so, and never open nor closed."""

import asyncio
import sys
from contextlib import AsyncExitStack
from uuid import UUID, uuid4

import pytest

from core.auth.limiter import LOOK_SECONDS, READ_SECONDS, Limiter
from core.clock import SystemClock
from core.store.redis import connect_redis
from core.store.slot_map import slot_of
from tests.core.auth.limiting import ask, granted, limiter_of, limits
from tests.harness.clock import ManualClock
from tests.harness.cluster import OwnCluster
from tests.harness.limiters import away_from_the_hours_end
from tests.harness.valkey import OwnRedis
from tests.harness.waiting import eventually

ROOMY = 1_000_000
HOUR = 3600
# What one process of four does: hammers with 32 askers until each has been refused, and prints how many were granted.
HAMMER = """
import asyncio, sys
from uuid import UUID
import uvloop
from tests.core.auth.limiting import limiter_of, limits

async def hammer(limiter, org_id, of):
    count = 0
    while (await limiter.ask(org_id, of)).retry_after is None:
        count += 1
    return count

async def main(url, org_id, per_hour, burst):
    async with limiter_of(url) as limiter:
        print("ready", flush=True)
        sys.stdin.readline()
        of = limits(int(per_hour), int(burst))
        counts = await asyncio.gather(*(hammer(limiter, UUID(org_id), of) for _ in range(32)))
        print(sum(counts), limiter.counts.alone, flush=True)

uvloop.run(main(*sys.argv[1:]))
"""


@pytest.fixture
def org_id() -> UUID:
    """An organisation."""
    return uuid4()


@pytest.mark.each_redis
class TestExact:
    """What Redis counts."""

    @pytest.mark.parametrize(("per_hour", "burst"), [(1000, ROOMY), (ROOMY, 1000)])
    async def test_nodes_together_grant_what_the_limit_says(
        self, redis_url: str, clock: ManualClock, org_id: UUID, per_hour: int, burst: int
    ):
        """Whichever of the two binds."""
        of = limits(per_hour, burst)
        async with AsyncExitStack() as stack:
            nodes = [await stack.enter_async_context(limiter_of(redis_url, clock)) for _ in range(4)]
            counts = await asyncio.gather(*(granted(each, org_id, of, 400) for each in nodes))
            assert sum(counts) == 1000
            assert all(each.counts.alone == 0 for each in nodes)

    async def test_window_rolls_at_the_full_hour(self, redis_url: str, clock: ManualClock, org_id: UUID):
        """Redis' hour; the refusal says when that is."""
        async with limiter_of(redis_url, clock) as node:
            await clock.advance(3000)
            assert await granted(node, org_id, limits(20, ROOMY), 25) == 20
            (refused,) = await ask(node, org_id, limits(20, ROOMY))
            assert (refused.retry_after, refused.resets_in, refused.remaining) == (600, 600, 0)
            assert refused.reset == round(clock.now().timestamp()) + 600
            await clock.advance(599)
            assert await granted(node, org_id, limits(20, ROOMY), 1) == 0
            await clock.advance(1)
            (first,) = await ask(node, org_id, limits(20, ROOMY))
            assert (first.retry_after, first.remaining, first.resets_in) == (None, 19, HOUR)

    async def test_bucket_refills(self, redis_url: str, clock: ManualClock, org_id: UUID):
        """By an hour's requests in an hour; `retry_after` is rounded up, and enough."""
        of = limits(1000, 10)
        async with limiter_of(redis_url, clock) as node:
            assert await granted(node, org_id, of, 20) == 10
            (refused,) = await ask(node, org_id, of)
            assert (refused.retry_after, refused.burst_remaining, refused.remaining) == (4, 0, 990)
            await clock.advance(3.5)
            assert await granted(node, org_id, of) == 0
            await clock.advance(0.5)
            assert await granted(node, org_id, of, 2) == 1
            await clock.advance(60)
            assert await granted(node, org_id, of, 20) == 10

    async def test_weights(self, redis_url: str, clock: ManualClock, org_id: UUID):
        """A heavy one takes as many; one that is too heavy for the bucket takes all of it."""
        of = limits(100, 10)
        async with limiter_of(redis_url, clock) as node:
            both = await asyncio.gather(*(node.ask(org_id, of, weight) for weight in (4, 1, 4, 4)))
            assert sorted(each.remaining for each in both if each.retry_after is None) == [91, 92, 96]
            assert await granted(node, org_id, of, 2) == 1
            await clock.advance(HOUR)
            assert await granted(node, org_id, of, 1, weight=50) == 1
            assert await granted(node, org_id, of, 1) == 0

    async def test_organisations_do_not_disturb_each_other(self, redis_url: str, clock: ManualClock, org_id: UUID):
        """Whoever hammers leaves the others theirs, also in one turn."""
        async with limiter_of(redis_url, clock) as node:
            others = [uuid4() for _ in range(50)]
            asked = [node.ask(org_id, limits(5, 5)) for _ in range(100)]
            theirs = [node.ask(each, limits(5, 5)) for each in others for _ in range(5)]
            assert sum(each.retry_after is None for each in await asyncio.gather(*asked)) == 5
            assert all(each.retry_after is None for each in await asyncio.gather(*theirs))

    async def test_new_limits_count_at_once(self, redis_url: str, clock: ManualClock, org_id: UUID):
        """Raised or cut, the window's or the bucket's; 0 refuses all."""
        async with limiter_of(redis_url, clock) as node:
            assert await granted(node, org_id, limits(10, ROOMY), 20) == 10
            assert await granted(node, org_id, limits(15, ROOMY), 20) == 5
            assert await granted(node, org_id, limits(8, ROOMY), 20) == 0
            assert await granted(node, org_id, limits(100, 20), 20) == 5
            assert await granted(node, org_id, limits(100, 5), 5) == 0
            assert await granted(node, org_id, limits(100, 50), 50) == 45
            for nothing in (limits(0, 5), limits(5, 0)):
                (refused,) = await ask(node, uuid4(), nothing)
                assert refused.retry_after == HOUR

    async def test_grace_share_is_counted_apart(self, redis_url: str, clock: ManualClock, org_id: UUID):
        """A tenth, and only over the limit."""
        async with limiter_of(redis_url, clock) as node:
            of = limits(100, 100)
            first = await asyncio.gather(*(node.ask(org_id, of, by_grace=True) for _ in range(105)))
            assert [each.is_grace for each in first] == [False] * 100 + [True] * 5
            more = await asyncio.gather(*(node.ask(org_id, of, by_grace=True) for _ in range(10)))
            assert [each.is_grace for each in more] == [True] * 5 + [False] * 5
            assert all(each.retry_after for each in more)
            assert await granted(node, org_id, of) == 0
            await clock.advance(HOUR)
            assert await granted(node, org_id, of, 105) == 100

    async def test_each_answer_tells_what_is_left(self, redis_url: str, clock: ManualClock, org_id: UUID):
        """Of those that were asked together each has its own."""
        async with limiter_of(redis_url, clock) as node:
            found = await ask(node, org_id, limits(100, 5), 7)
            assert [each.remaining for each in found] == [99, 98, 97, 96, 95, 95, 95]
            assert [each.burst_remaining for each in found] == [4, 3, 2, 1, 0, 0, 0]
            assert {(each.limit, each.burst) for each in found} == {(100, 5)}

    async def test_lost_script_is_sent_again(self, redis_url: str, clock: ManualClock, org_id: UUID):
        """Nothing is decided alone for that."""
        async with limiter_of(redis_url, clock) as node:
            redis = connect_redis(redis_url)
            for master in await redis.masters():
                await master.script_flush()
            await redis.aclose()
            assert await granted(node, org_id, limits(10, 10), 14) == 10
            assert node.counts.alone == 0


@pytest.mark.parametrize("binds", ["window", "bucket"])
async def test_four_processes_grant_exactly_the_limit(redis_url: str, org_id: UUID, binds: str):
    """Hammering at once, by Redis' own clock."""
    # The bucket: an hour's requests are twice what it holds, so it refills by one in 0.9 s.
    per_hour, burst = (3000, ROOMY) if binds == "window" else (4000, 2000)
    await away_from_the_hours_end(redis_url)
    clock = SystemClock()
    arguments = (sys.executable, "-c", HAMMER, redis_url, str(org_id), str(per_hour), str(burst))
    pipe = asyncio.subprocess.PIPE
    processes = [await asyncio.create_subprocess_exec(*arguments, stdin=pipe, stdout=pipe) for _ in range(4)]
    async with asyncio.timeout(60):
        for each in processes:
            assert each.stdout is not None
            assert await each.stdout.readline() == b"ready\n"
        began = clock.monotonic()
        for each in processes:
            assert each.stdin is not None
            each.stdin.write(b"\n")
        told = [await each.stdout.readline() for each in processes if each.stdout is not None]
        lasted = clock.monotonic() - began
        await asyncio.gather(*(each.wait() for each in processes))
    counts = [[int(word) for word in line.split()] for line in told]
    assert sum(alone for _, alone in counts) == 0
    total = sum(count for count, _ in counts)
    if binds == "window":
        assert total == 3000
    else:
        assert 2000 <= total <= 2000 + lasted * 4000 / HOUR + 1


class TestAway:
    """Redis does not answer."""

    async def test_node_that_never_had_redis_grants_its_part(self, clock: ManualClock, org_id: UUID):
        """One of four has a quarter; time refills it."""
        async with limiter_of("unix:///nowhere/redis", clock, nodes=4, alone=True) as node:
            of = limits(1000, 40)
            assert await granted(node, org_id, of, 100) == 10
            (refused,) = await ask(node, org_id, of)
            assert (refused.retry_after, refused.limit, refused.remaining) == (15, 1000, 240)
            await clock.advance(15)
            assert await granted(node, org_id, of, 5) == 1
            assert node.counts.alone > 10

    async def test_killed_redis_leaves_the_limit_nearly_whole(
        self, own_redis: OwnRedis, clock: ManualClock, org_id: UUID
    ):
        """Each node goes on with its part of what was left, and what it granted is charged when Redis is back."""
        of = limits(1000, ROOMY)
        async with AsyncExitStack() as stack:
            nodes = [await stack.enter_async_context(limiter_of(own_redis.url, clock, nodes=2)) for _ in range(2)]
            for each in nodes:
                assert await granted(each, org_id, of, 200) == 200
            own_redis.kill()
            await eventually(lambda: not any(each.connected for each in nodes))
            alone = [await granted(each, org_id, of, 100) for each in nodes]
            assert alone == [100, 100]
            own_redis.start()
            await eventually(lambda: all(each.connected for each in nodes))
            rest = [await granted(each, org_id, of, 600) for each in nodes]
            assert 995 <= sum(alone) + 400 + sum(rest) <= 1000

    async def test_never_open_while_redis_is_away(self, own_redis: OwnRedis, clock: ManualClock, org_id: UUID):
        """All that both grant is the limit."""
        of = limits(1000, ROOMY)
        async with AsyncExitStack() as stack:
            nodes = [await stack.enter_async_context(limiter_of(own_redis.url, clock, nodes=2)) for _ in range(2)]
            assert await granted(nodes[0], org_id, of, 300) == 300
            assert await granted(nodes[1], org_id, of, 1) == 1
            own_redis.kill()
            await eventually(lambda: not any(each.connected for each in nodes))
            alone = [await granted(each, org_id, of, 2000) for each in nodes]
            assert sum(alone) + 301 <= 1002

    async def test_redis_that_lost_its_data_is_told(self, own_redis: OwnRedis, clock: ManualClock, org_id: UUID):
        """By the first node that asks: the window goes on where it was."""
        of = limits(100, 200)
        async with limiter_of(own_redis.url, clock) as node:
            assert await granted(node, org_id, of, 60) == 60
            own_redis.kill()
            await eventually(lambda: not node.connected)
            assert await granted(node, org_id, of, 20) == 20
            own_redis.restart(empty=True)
            await eventually(lambda: node.connected)
            assert await granted(node, org_id, of, 100) == 20

    async def test_nodes_that_remember_different_times_are_added_up(
        self, own_redis: OwnRedis, clock: ManualClock, org_id: UUID
    ):
        """The latest that any remembers, and what each has granted since: whoever tells first."""
        of = limits(1000, ROOMY)
        async with AsyncExitStack() as stack:
            nodes = [await stack.enter_async_context(limiter_of(own_redis.url, clock, nodes=2)) for _ in range(2)]
            assert [await granted(each, org_id, of, 100) for each in nodes] == [100, 100]
            for count in (20, 30):
                own_redis.kill()
                await eventually(lambda: not any(each.connected for each in nodes))
                assert [await granted(each, org_id, of, count) for each in nodes] == [count, count]
                own_redis.restart(empty=True)
                await eventually(lambda: all(each.connected for each in nodes))
            assert [await granted(each, org_id, of) for each in nodes] == [1, 1]
            assert await granted(nodes[0], org_id, of, 1000) == 1000 - 200 - 40 - 60 - 2

    async def test_redis_that_is_started_anew_while_nobody_asks_is_told(
        self, own_redis: OwnRedis, clock: ManualClock, org_id: UUID
    ):
        """Nothing was under way and nothing was granted without it: the window goes on all the same."""
        of = limits(100, 200)
        async with limiter_of(own_redis.url, clock) as node:
            assert await granted(node, org_id, of, 60) == 60
            own_redis.kill()
            await eventually(lambda: not node.connected)
            own_redis.restart(empty=True)
            await eventually(lambda: node.connected)
            assert await granted(node, org_id, of, 100) == 40

    async def test_frozen_redis_costs_a_tenth_of_a_second_once(self, own_redis: OwnRedis, org_id: UUID):
        """Then nobody waits until it answers; and then it is exact again."""
        assert 2 * LOOK_SECONDS + READ_SECONDS < 0.1
        of, clock = limits(1000, ROOMY), SystemClock()
        await away_from_the_hours_end(own_redis.url)
        async with limiter_of(own_redis.url, look=LOOK_SECONDS) as node:
            assert await granted(node, org_id, of, 100) == 100
            alone = node.counts.alone
            own_redis.pause()
            began = clock.monotonic()
            assert await granted(node, org_id, of, 7) == 7
            waited = clock.monotonic() - began
            assert waited >= LOOK_SECONDS
            for _ in range(50):
                asked = node.ask(org_id, of)
                await _turned()
                assert asked.done(), "nobody waits"
                assert asked.result().retry_after is None
            assert node.counts.alone == alone + 57
            own_redis.resume()
            await eventually(lambda: _counts_together(node))
            # What was asked of a frozen Redis was counted there in the end, and not a second time.
            assert await granted(node, org_id, of, 1200) == 1000 - 100 - 57

    async def test_wall_clock_of_the_node_does_not_matter(self, redis_url: str, org_id: UUID):
        """Redis' does; and alone the last that was heard of it."""
        of, clock = limits(10, ROOMY), ManualClock()
        await away_from_the_hours_end(redis_url)
        async with AsyncExitStack() as stack:
            node = await stack.enter_async_context(limiter_of(redis_url))
            node._clock = clock  # pyright: ignore[reportAttributeAccessIssue, reportPrivateUsage]
            assert await granted(node, org_id, of, 5) == 5
            clock.jump(-86400)
            assert await granted(node, org_id, of, 2) == 2
            clock.jump(2 * 86400)
            assert await granted(node, org_id, of, 10) == 3


async def _turned() -> None:
    """Let the loop turn twice: what is asked in one turn is sent, or decided, in the next."""
    for _ in range(2):
        await asyncio.sleep(0)


async def _counts_together(node: Limiter) -> bool:
    before = node.counts.alone
    await granted(node, uuid4(), limits(10, 10))
    return node.counts.alone == before


async def test_slots_that_move_are_followed(own_cluster: OwnCluster, clock: ManualClock, org_id: UUID):
    """In the middle of it, with what was counted."""
    async with limiter_of(own_cluster.url, clock) as node:
        of = limits(100, 100)
        assert await granted(node, org_id, of, 40) == 40
        await asyncio.to_thread(own_cluster.migrate, f"limit:{{{org_id}}}", atomically=False)
        assert await granted(node, org_id, of, 100) == 60
        assert node.counts.alone == 0


async def test_master_of_a_cluster_that_dies_closes_and_opens_nothing(
    own_cluster: OwnCluster, clock: ManualClock, org_id: UUID
):
    """Its organisations are counted alone until its replica takes over."""
    async with limiter_of(own_cluster.url, clock) as node:
        of = limits(100, 100)
        assert await granted(node, org_id, of, 40) == 40
        master = own_cluster.owner(_slot(org_id))
        replica = own_cluster.replica_of(master)
        master.kill()
        await eventually(lambda: not node.connected)
        assert await granted(node, org_id, of, 20) == 20
        await eventually(lambda: replica.ask("ROLE")[0] == b"master", within=20)
        await eventually(lambda: node.connected, within=20)
        assert await granted(node, org_id, of, 100) == 40


def _slot(org_id: UUID) -> int:
    return slot_of(f"limit:{{{org_id}}}")


async def test_who_goes_away_leaves_the_others_their_answers(redis_url: str, clock: ManualClock, org_id: UUID):
    """Cancelled while Redis is asked."""
    async with limiter_of(redis_url, clock) as node:
        futures = [node.ask(org_id, limits(3, 3)) for _ in range(4)]
        futures[0].cancel()
        await asyncio.sleep(0)
        futures[1].cancel()
        rest = await asyncio.gather(*futures[2:])
        assert [each.retry_after is None for each in rest] == [True, False]
