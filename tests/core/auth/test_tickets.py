"""A ticket opens one stream, within 30 s, as whoever it was made for."""

from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any

import pytest

from core.auth.reference import Claims, KeyReference, Reference, TokenReference
from core.auth.tickets import LIFE_SECONDS, Tickets
from core.errors import HubError
from core.ids import new_id
from core.store.redis import Redis, connect_redis
from tests.harness.clock import ManualClock

pytestmark = pytest.mark.each_redis


async def kept_tickets(redis: Redis) -> list[Any]:
    """Return the keys of all tickets."""
    return [key for server in await redis.masters() for key in await server.keys("ticket:*")]


@pytest.fixture
async def redis(redis_url: str) -> AsyncGenerator[Redis]:
    """A client of the server."""
    made = connect_redis(redis_url)
    yield made
    await made.aclose()


async def _refusal(tickets: Tickets, ticket: str) -> str:
    with pytest.raises(HubError) as refused:
        await tickets.redeem(ticket)
    assert ticket not in refused.value.text or not ticket
    return refused.value.code


def _references(clock: ManualClock) -> list[Reference]:
    claims = Claims("ada", "acme", frozenset({"read:agents"}), clock.now() + timedelta(hours=1))
    restricted = Claims("ada", "acme", frozenset(), clock.now() + timedelta(seconds=0.25), frozenset({new_id()}))
    return [KeyReference(b"\0\xff" * 16), TokenReference("hub", "k1", claims), TokenReference("hub", None, restricted)]


async def test_ticket_stands_for_its_credential_once(redis: Redis, clock: ManualClock):
    """Of keys and tokens alike, with every restriction."""
    tickets = Tickets(redis, "s" * 32, clock)
    for reference in _references(clock):
        ticket, expires_at = await tickets.issue(reference)
        assert expires_at == clock.now() + timedelta(seconds=LIFE_SECONDS)
        assert await tickets.redeem(ticket) == reference
        assert await _refusal(tickets, ticket) == "INVALID_TICKET"


async def test_ticket_ends_after_thirty_seconds(redis: Redis, clock: ManualClock):
    """By the hub's clock, and by Redis' own."""
    tickets = Tickets(redis, "s" * 32, clock)
    ticket, _ = await tickets.issue(_references(clock)[0])
    (kept,) = await kept_tickets(redis)
    assert 0 < await redis.ttl(kept) <= LIFE_SECONDS
    await clock.advance(LIFE_SECONDS)
    assert await _refusal(tickets, ticket) == "INVALID_TICKET"


async def test_redis_keeps_no_ticket_and_makes_none(redis: Redis, clock: ManualClock):
    """Who reads it finds no credential; what somebody else wrote, or put under another ticket, is refused."""
    tickets = Tickets(redis, "s" * 32, clock)
    ticket, _ = await tickets.issue(_references(clock)[0])
    other, _ = await tickets.issue(_references(clock)[1])
    names: list[Any] = await kept_tickets(redis)
    values: list[Any] = [await redis.get(name) for name in names]
    assert ticket[4:].encode() not in b"".join((*names, *values))
    first, second = values
    await redis.set(names[0], second)
    await redis.set(names[1], first)
    assert await _refusal(tickets, ticket) == "INVALID_TICKET"
    assert await _refusal(tickets, other) == "INVALID_TICKET"
    assert (
        await _refusal(Tickets(redis, "t" * 32, clock), (await tickets.issue(_references(clock)[0]))[0])
        == "INVALID_TICKET"
    )


@pytest.mark.parametrize("ticket", ["", "tkt_", "aim_live_x", "tkt_" + "é" * 43, "tkt_" + "A" * 43, "x" * 100_000])
async def test_what_is_no_ticket_is_refused(redis: Redis, clock: ManualClock, ticket: str):
    """Whatever it looks like."""
    assert await _refusal(Tickets(redis, "s" * 32, clock), ticket) == "INVALID_TICKET"


async def test_redis_away_is_no_fault_of_the_ticket(clock: ManualClock):
    """503, to come again."""
    redis = connect_redis("unix:///nowhere/redis")
    tickets = Tickets(redis, "s" * 32, clock)
    assert await _refusal(tickets, "tkt_" + "A" * 43) == "SERVICE_UNAVAILABLE"
    with pytest.raises(HubError) as refused:
        await tickets.issue(_references(clock)[0])
    assert refused.value.code == "SERVICE_UNAVAILABLE"
    await redis.aclose()
