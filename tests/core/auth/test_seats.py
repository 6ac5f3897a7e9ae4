"""Connections of an organisation are counted on all nodes together, and never lost for good."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any
from uuid import UUID, uuid4

import pytest

from core.auth.seats import ALONE_SECONDS, ASK_SECONDS, BEAT_SECONDS, RETRY_SECONDS, Seat, Seats
from core.clock import SystemClock
from core.errors import HubError
from core.store.redis import connect_redis
from tests.harness.clock import ManualClock
from tests.harness.valkey import OwnRedis
from tests.harness.waiting import eventually

pytestmark = pytest.mark.each_redis


@asynccontextmanager
async def seats_of(
    url: str, clock: ManualClock | SystemClock, node: str, *, dies: bool = False
) -> AsyncGenerator[Seats]:
    """A node's seats, running; one that dies gives nothing back."""
    redis = connect_redis(url)
    seats = Seats(redis, clock, node=node)
    task = asyncio.create_task(seats.run())
    try:
        yield seats
        assert not task.done(), task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        if not dies:
            await seats.close()
        await redis.aclose()


async def taken(seats: Seats, org_id: UUID, count: int, limit: int) -> list[Seat]:
    """Take `count` at once; return those that were granted."""
    answers = await asyncio.gather(*(seats.take(org_id, limit) for _ in range(count)), return_exceptions=True)
    refused = [each for each in answers if isinstance(each, BaseException)]
    assert all(isinstance(each, HubError) and each.code == "RATE_LIMIT_EXCEEDED" for each in refused), refused
    return [each for each in answers if isinstance(each, Seat)]


async def shares(url: str, org_id: UUID) -> dict[str, int]:
    """Return what Redis has, by node."""
    redis = connect_redis(url)
    try:
        kept: Any = await redis.hgetall(f"seats:{{{org_id}}}")  # pyright: ignore[reportGeneralTypeIssues] - redis-py's union
        return {node.decode(): int(share.split()[0]) for node, share in kept.items()}
    finally:
        await redis.aclose()


@pytest.fixture
def org_id() -> UUID:
    """An organisation."""
    return uuid4()


async def test_two_nodes_share_one_limit(redis_url: str, clock: ManualClock, org_id: UUID):
    """Whoever comes first; what one gives back another may have."""
    async with seats_of(redis_url, clock, "a") as a, seats_of(redis_url, clock, "b") as b:
        of_a, of_b = await asyncio.gather(taken(a, org_id, 20, 30), taken(b, org_id, 20, 30))
        assert len(of_a) + len(of_b) == 30
        assert await taken(a, org_id, 1, 30) == []
        of_b[0].give_back()
        of_b[0].give_back()  # twice is once
        await eventually(lambda: _is(shares(redis_url, org_id), {"a": len(of_a), "b": len(of_b) - 1}))
        assert len(await taken(a, org_id, 3, 30)) == 1


async def _is(work: object, expected: object) -> bool:
    return await work == expected  # pyright: ignore[reportGeneralTypeIssues] - any coroutine


async def test_refusal_says_when_to_come_again(redis_url: str, clock: ManualClock, org_id: UUID):
    """429 as for requests, and which limit it was."""
    async with seats_of(redis_url, clock, "a") as seats:
        with pytest.raises(HubError) as refused:
            await seats.take(org_id, 0)
        assert (refused.value.text, refused.value.retry_after) == ("Rate limit exceeded", RETRY_SECONDS)
        assert refused.value.details[0].field == "concurrent_connections"


async def test_organisations_do_not_count_for_each_other(redis_url: str, clock: ManualClock):
    """A full one leaves the others their seats, also when all come at once."""
    async with seats_of(redis_url, clock, "a") as seats:
        found = await asyncio.gather(*(taken(seats, uuid4(), 3, 2) for _ in range(700)))
        assert {len(each) for each in found} == {2}


async def test_new_limit_counts_at_once(redis_url: str, clock: ManualClock, org_id: UUID):
    """A lower one ends nobody, and lets nobody in."""
    async with seats_of(redis_url, clock, "a") as seats:
        assert len(await taken(seats, org_id, 5, 3)) == 3
        assert len(await taken(seats, org_id, 5, 4)) == 1
        assert await taken(seats, org_id, 1, 2) == []
        assert seats.held(org_id) == 4


async def test_closed_node_gives_all_back(redis_url: str, clock: ManualClock, org_id: UUID):
    """At once; and what its sockets give back later changes nothing."""
    async with seats_of(redis_url, clock, "a") as a:
        held = await taken(a, org_id, 5, 5)
    held[0].give_back()
    assert await shares(redis_url, org_id) == {}


async def test_share_of_a_dead_node_runs_out(redis_url: str, clock: ManualClock, org_id: UUID):
    """Redis counts its lease; the next question removes it."""
    async with seats_of(redis_url, clock, "dead", dies=True) as dead:
        assert len(await taken(dead, org_id, 5, 5)) == 5
    async with seats_of(redis_url, clock, "b") as b:
        assert await taken(b, org_id, 1, 5) == []
        redis = connect_redis(redis_url)
        # As it stands when the lease is over.
        await redis.hset(f"seats:{{{org_id}}}", "dead", "5 1000")  # pyright: ignore[reportGeneralTypeIssues]
        await redis.aclose()
        assert len(await taken(b, org_id, 6, 5)) == 5
        assert await shares(redis_url, org_id) == {"b": 5}


async def test_share_is_renewed_and_comes_back_after_redis_was_emptied(
    redis_url: str, clock: ManualClock, org_id: UUID
):
    """By the next beat, so another node sees it again."""
    async with seats_of(redis_url, clock, "a") as a:
        assert len(await taken(a, org_id, 5, 5)) == 5
        redis = connect_redis(redis_url)
        await redis.flushall()
        await redis.aclose()
        await clock.advance(BEAT_SECONDS)
        await eventually(lambda: _is(shares(redis_url, org_id), {"a": 5}))


async def test_without_redis_a_node_counts_alone(own_redis: OwnRedis, clock: ManualClock, org_id: UUID):
    """The limit holds on each node; nobody is shut out, and with Redis the sum counts again."""
    async with seats_of(own_redis.url, clock, "a") as a, seats_of(own_redis.url, clock, "b") as b:
        held = await taken(a, org_id, 2, 3)
        own_redis.kill()
        assert len(await taken(a, org_id, 5, 3)) == 1
        assert len(await taken(b, org_id, 5, 3)) == 3
        held[0].give_back()
        assert len(await taken(a, org_id, 5, 3)) == 1
        await clock.advance(ALONE_SECONDS)
        own_redis.start()
        await clock.advance(BEAT_SECONDS - ALONE_SECONDS)
        await eventually(lambda: _is(shares(own_redis.url, org_id), {"a": 3, "b": 3}))
        assert await taken(b, org_id, 1, 6) == []


async def test_hanging_redis_holds_a_handshake_for_a_second_only(own_redis: OwnRedis, org_id: UUID):
    """Then the node counts alone."""
    async with AsyncExitStack() as stack:
        seats = await stack.enter_async_context(seats_of(own_redis.url, SystemClock(), "a", dies=True))
        assert len(await taken(seats, org_id, 1, 3)) == 1
        own_redis.pause()
        try:
            # For ever, were it waited for; a second, and what a busy machine takes.
            assert ASK_SECONDS <= 1
            async with asyncio.timeout(20):
                assert len(await taken(seats, org_id, 5, 3)) == 2
                assert await taken(seats, org_id, 5, 3) == []
        finally:
            own_redis.resume()


async def test_taker_that_goes_away_leaves_no_seat_taken(redis_url: str, clock: ManualClock, org_id: UUID):
    """Whenever it goes."""
    async with seats_of(redis_url, clock, "a") as seats:
        for turns in range(12):
            taking = asyncio.ensure_future(seats.take(org_id, 1))
            for _ in range(turns):
                await asyncio.sleep(0)
            if not taking.done():
                taking.cancel()
            (outcome,) = await asyncio.gather(taking, return_exceptions=True)
            if isinstance(outcome, Seat):
                outcome.give_back()
            await eventually(lambda: seats.held(org_id) == 0)
        (seat,) = await taken(seats, org_id, 1, 1)
        seat.give_back()
        await eventually(lambda: _is(shares(redis_url, org_id), {}))
