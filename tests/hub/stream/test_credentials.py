"""Credentials of open sockets: tickets, warnings, renewal, grace, what is revoked or narrowed, and how many may be open."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from websockets.exceptions import InvalidStatus

from core.auth.keys import hash_of, make_key
from core.auth.organisations import set_limits
from core.auth.reference import KeyReference
from core.clock import rfc3339
from core.errors import HubError
from core.store.database import connect_as
from core.store.migrate import installation_secret
from hub.stream.codes import CREDENTIAL_EXPIRED, CREDENTIAL_REVOKED, TOO_MANY_CONNECTIONS
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation
from tests.harness.stream_client import StreamClient, open_stream
from tests.harness.waiting import eventually
from tests.hub.stream.node import Node, numbers_of, serve


async def execute(organisation: Organisation, statement: str, *args: Any) -> None:
    """Change the database as its owner."""
    connection = await connect_as(organisation.database_url, "hub_owner")
    try:
        await connection.execute(statement, *args)
    finally:
        await connection.close()


async def limit(organisation: Organisation, connections: int) -> None:
    """Set the organisation's limit, as `orgs set` does."""
    connection = await connect_as(organisation.database_url, "hub_owner")
    try:
        await set_limits(connection, organisation.slug, {"concurrent_connections": connections})
    finally:
        await connection.close()


async def refused(node: Node, key: str | None = None, *, query: str = "", **options: Any) -> tuple[int, bytes]:
    """Return status and body of a handshake that is refused."""
    with pytest.raises(InvalidStatus) as error:
        async with open_stream(node.url + query, key, **options):
            pass
    return error.value.response.status_code, bytes(error.value.response.body or b"")


async def ticket_of(node: Node, organisation: Organisation, key: str) -> str:
    """Return a ticket as the REST door makes it for this key."""
    secret = await installation_secret(organisation.database_url)
    return (await node.tickets.issue(KeyReference(hash_of(secret, key))))[0]


@asynccontextmanager
async def many(node: Node, keys: Sequence[str]) -> AsyncGenerator[list[StreamClient]]:
    """Open a socket for each key."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(node.open(key)) for key in keys]
        for client in clients:
            await client.receive()
        yield clients


class TestTicket:
    """What a browser opens its stream with."""

    async def test_it_opens_one_stream(self, node: Node, key: str, organisation: Organisation):
        """As the key that it was made with; a second time it is nothing."""
        ticket = await ticket_of(node, organisation, key)
        async with open_stream(f"{node.url}?ticket={ticket}", None) as client, node.open(key) as other:
            welcome = await client.receive()
            assert welcome["subject"] == (await other.receive())["subject"]
            assert (await client.subscribe("agents"))["type"] == "subscribed"
            status, body = await refused(node, query=f"?ticket={ticket}")
            assert (status, b'"INVALID_TICKET"' in body) == (401, True)

    async def test_it_is_late_after_thirty_seconds(
        self, node: Node, key: str, organisation: Organisation, clock: ManualClock
    ):
        """The page asks for another."""
        ticket = await ticket_of(node, organisation, key)
        await clock.advance(30)
        assert (await refused(node, query=f"?ticket={ticket}"))[0] == 401

    async def test_what_is_no_handshake_uses_up_no_ticket(self, node: Node, organisation: Organisation, key: str):
        """A link that somebody opens in a browser: its headers are looked at first."""
        ticket = await ticket_of(node, organisation, key)
        address = f"{node.url}?ticket={ticket}".replace("ws:", "http:")
        async with aiohttp.ClientSession() as session, session.get(address) as answer:
            assert answer.status == 400
        async with open_stream(f"{node.url}?ticket={ticket}", None) as client:
            assert (await client.receive())["type"] == "welcome"

    async def test_revoked_key_takes_its_tickets_and_their_streams_along(
        self, node: Node, key: str, organisation: Organisation, clock: ManualClock
    ):
        """Those not used yet, and those that opened a stream."""
        used, unused = [await ticket_of(node, organisation, key) for _ in range(2)]
        async with open_stream(f"{node.url}?ticket={used}", None) as client:
            await client.receive()
            await organisation.revoke(key)
            status, body = await refused(node, query=f"?ticket={unused}")
            assert (status, b'"INVALID_API_KEY"' in body) == (401, True)
            await clock.advance(2)
            assert await client.closed() == CREDENTIAL_REVOKED.code

    async def test_it_is_checked_as_any_handshake(self, node: Node, key: str, organisation: Organisation):
        """Another site's page cannot use it, and it does not go with another credential."""
        ticket = await ticket_of(node, organisation, key)
        assert (await refused(node, query=f"?ticket={ticket}", origin="http://evil.example"))[0] == 403
        assert (await refused(node, key, query=f"?ticket={ticket}"))[0] == 400
        assert (await refused(node, query="?ticket="))[0] == 401
        async with open_stream(f"{node.url}?ticket={ticket}", None) as client:
            assert (await client.receive())["type"] == "welcome"


class TestExpiry:
    """A credential that ends is no surprise."""

    async def test_it_is_announced_once(self, node: Node, organisation: Organisation, clock: ManualClock):
        """A minute before, in time of the hub and in what is left."""
        ending = await organisation.key(expires_at=clock.now() + timedelta(hours=1))
        async with node.open(ending) as client:
            await client.receive()
            await clock.advance(3538)
            assert (await client.ask({"type": "ping"}))["type"] == "pong"
            assert "token_expiring" not in [frame["type"] for frame in client.frames]
            await clock.advance(30)
            frame = await client.expect("token_expiring")
            assert frame == {
                "type": "token_expiring",
                "expires_at": "2026-01-01T01:00:00.000000Z",
                "expires_in_ms": 60_000,
            }
            await client.ask({"type": "ping"})
            assert [each["type"] for each in client.frames].count("token_expiring") == 1

    async def test_renewal_is_announced_anew(self, node: Node, organisation: Organisation, clock: ManualClock):
        """The connection lives through any number of ends, also within the grace, and misses nothing."""
        key = await organisation.key(expires_at=clock.now() + timedelta(seconds=100))
        async with node.joined(key, "agents") as client:
            for _ in range(3):
                await clock.advance(41)
                assert (await client.expect("token_expiring"))["expires_in_ms"] >= 59_000
                await clock.advance(64)
                ending = clock.now() + timedelta(seconds=100)
                await execute(organisation, "UPDATE keys SET expires_at = $1", ending)
                await clock.advance(1)
                renewed = await client.authenticate(key)
                assert (renewed["type"], renewed["expires_at"]) == ("welcome", rfc3339(ending))
            (number,) = await node.emit(organisation.id)
            assert numbers_of(await client.events(1)) == [number]

    async def test_grace_ends_with_a_code_that_comes_back(
        self, node: Node, organisation: Organisation, clock: ManualClock
    ):
        """Ten seconds after the end, not before; a handshake has no grace."""
        key = await organisation.key(expires_at=clock.now() + timedelta(seconds=20))
        async with node.joined(key, "agents") as client:
            await clock.advance(1)
            assert 19_000 <= (await client.expect("token_expiring"))["expires_in_ms"] <= 20_000
            await clock.advance(28)
            await node.emit(organisation.id)
            assert len(await client.events(1)) == 1
            assert (await refused(node, key))[0] == 401
            await clock.advance(2)
            assert await client.closed() == CREDENTIAL_EXPIRED.code
            assert CREDENTIAL_EXPIRED.reconnect


class TestRotation:
    """A new secret for the same key."""

    async def test_socket_goes_on_with_the_new_secret(self, node: Node, organisation: Organisation, clock: ManualClock):
        """It hears that the old one ends, renews with the new one, and is the same key."""
        old, new = await organisation.key(), make_key()
        secret = await installation_secret(organisation.database_url)
        async with node.joined(old, "agents") as client, node.joined(old, "agents") as idle:
            old_until = clock.now() + timedelta(seconds=50)
            await execute(
                organisation,
                "UPDATE keys SET old_hash = hash, hash = $1, old_until = $2",
                hash_of(secret, new),
                old_until,
            )

            async def is_warned() -> bool:
                await clock.advance(1)
                await client.ask({"type": "ping"})
                warnings = [frame for frame in client.frames if frame["type"] == "token_expiring"]
                return [frame["expires_at"] for frame in warnings] == [rfc3339(old_until)]

            await eventually(is_warned)
            assert (await client.authenticate(new))["expires_at"] is None
            await clock.advance(65)
            assert (await client.ask({"type": "ping"}))["type"] == "pong"
            assert await idle.closed() == CREDENTIAL_EXPIRED.code


class TestChange:
    """What a credential loses, its sockets lose within two seconds."""

    async def test_lost_scope_is_a_lost_channel(self, node: Node, organisation: Organisation, clock: ManualClock):
        """With the reason; the others go on, and it cannot be joined again."""
        key = await organisation.key(["read:agents", "read:twins"])
        async with node.joined(key, "agents", "twins") as client:
            await execute(organisation, "UPDATE keys SET scopes = ARRAY['read:twins']")
            await clock.advance(2)
            left = await client.expect("unsubscribed")
            assert (left["channels"], left["error"]["code"]) == (["agents"], "INSUFFICIENT_SCOPE")
            await node.emit(organisation.id)
            await node.emit(organisation.id, 1, f"twins:{uuid4()}")
            assert numbers_of(await client.events(1)) == [2]
            (again,) = (await client.subscribe("agents"))["channels"]
            assert again["error"]["code"] == "INSUFFICIENT_SCOPE"

    async def test_lost_resource_is_a_lost_channel(self, node: Node, organisation: Organisation, clock: ManualClock):
        """And so is the channel of all of its kind."""
        kept, lost = uuid4(), uuid4()
        key = await organisation.key()
        async with node.joined(key, "agents", f"agents:{kept}", f"agents:{lost}") as client:
            await execute(organisation, "UPDATE keys SET resource_ids = $1", [kept])
            await clock.advance(2)
            frames = [await client.expect("unsubscribed") for _ in range(2)]
            assert [frame["channels"] for frame in frames] == [["agents"], [f"agents:{lost}"]]
            assert {frame["error"]["code"] for frame in frames} == {"FORBIDDEN"}
            await node.emit(organisation.id, 1, f"agents:{kept}")
            assert len(await client.events(1)) == 1

    async def test_won_scope_opens_channels(self, node: Node, organisation: Organisation, clock: ManualClock):
        """Without a new connection."""
        key = await organisation.key(["read:twins"])
        async with node.joined(key, "twins") as client:
            await execute(organisation, "UPDATE keys SET scopes = ARRAY['read:twins', 'read:agents']")
            await clock.advance(2)

            async def is_joined() -> bool:
                (channel,) = (await client.subscribe("agents"))["channels"]
                return "error" not in channel

            await eventually(is_joined)

    async def test_hundreds_of_keys_are_noticed_as_soon_as_one(
        self, node: Node, organisation: Organisation, clock: ManualClock
    ):
        """They are asked about together: every socket that lost its key ends within two seconds, and no other."""
        keys = [make_key() for _ in range(300)]
        secret = await installation_secret(organisation.database_url)
        await execute(
            organisation,
            "INSERT INTO keys (id, org_id, name, hint, hash, scopes, created_at) "
            "SELECT gen_random_uuid(), $1, 'k', 'k', hash, ARRAY['read:agents'], now() FROM unnest($2::bytea[]) AS hash",
            organisation.id,
            [hash_of(secret, each) for each in keys],
        )
        async with many(node, keys) as clients:
            gone = [hash_of(secret, each) for each in keys[::2]]
            await execute(organisation, "UPDATE keys SET revoked_at = now() WHERE hash = ANY ($1)", gone)
            await clock.advance(2)
            codes = await asyncio.gather(*(client.closed() for client in clients[::2]))
            assert set(codes) == {CREDENTIAL_REVOKED.code}
            answers = await asyncio.gather(*(client.ask({"type": "ping"}) for client in clients[1::2]))
            assert {answer["type"] for answer in answers} == {"pong"}

    async def test_database_that_is_away_ends_nobody(
        self, database_url: str, redis_url: str, clock: ManualClock, organisation: Organisation
    ):
        """That a credential cannot be looked up says nothing about it."""

        class Away:
            asked = 0

            async def authenticate(self, credential: str) -> Any:
                return organisation.caller()

            async def stand(self, reference: Any) -> Any:
                raise HubError("SERVICE_UNAVAILABLE")

            async def check(self, references: Any) -> Any:
                self.asked += 1
                raise HubError("SERVICE_UNAVAILABLE")

        away = Away()
        async with serve(database_url, redis_url, clock, authenticator=away) as node, node.open("key") as client:
            await client.receive()
            await clock.advance(3)
            assert away.asked == 3
            assert (await client.ask({"type": "ping"}))["type"] == "pong"


class TestSeats:
    """The tier's connections, counted on all nodes."""

    async def test_one_too_many_is_refused(
        self, database_url: str, redis_url: str, clock: ManualClock, node: Node, organisation: Organisation
    ):
        """On whichever node; one that ends makes room."""
        await limit(organisation, 3)
        key = await organisation.key()
        async with serve(database_url, redis_url, clock) as other, many(node, [key, key]), other.open(key) as third:
            await third.receive()
            for each in (node, other):
                status, body = await refused(each, key)
                assert (status, b'"RATE_LIMIT_EXCEEDED"' in body) == (429, True)
            await third.socket.close()
            await eventually(lambda: other.seats.held(organisation.id) == 0)
            async with node.open(key) as fourth:
                assert (await fourth.receive())["type"] == "welcome"
        await eventually(lambda: node.seats.held(organisation.id) == 0)

    async def test_new_limit_counts_at_once(self, node: Node, organisation: Organisation, clock: ManualClock):
        """A second later at most, which is how long a credential's answer is kept."""
        key = await organisation.key()
        await limit(organisation, 1)
        async with node.open(key) as client:
            await client.receive()
            assert (await refused(node, key))[0] == 429
            await limit(organisation, 2)
            await clock.advance(1)
            async with node.open(key) as second:
                assert (await second.receive())["type"] == "welcome"

    async def test_socket_that_authenticates_by_frame_needs_one_too(self, node: Node, organisation: Organisation):
        """It hears the error, then the code that comes back later; unauthenticated ones count for nobody."""
        await limit(organisation, 1)
        key = await organisation.key()
        async with node.open() as first, node.open() as second:
            assert (await first.authenticate(key))["type"] == "welcome"
            assert (await first.authenticate(key))["type"] == "welcome"  # renewal takes no second one
            assert (await second.authenticate(key))["error"]["code"] == "RATE_LIMIT_EXCEEDED"
            assert await second.closed() == TOO_MANY_CONNECTIONS.code
        await eventually(lambda: node.seats.held(organisation.id) == 0)

    async def test_refused_handshake_keeps_none(self, node: Node, organisation: Organisation):
        """A request that is no upgrade, after its credential was good."""
        key = await organisation.key()
        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{node.port}/v1/stream"
            async with session.get(url, headers={"Authorization": f"Bearer {key}"}) as answer:
                assert answer.status == 400
        assert node.seats.held(organisation.id) == 0


async def test_allowed_origins_pass(database_url: str, redis_url: str, clock: ManualClock, key: str):
    """Those of the setting, beside the hub's own; in any case of their letters."""
    origins = ("https://app.example", "http://localhost:5173")
    async with serve(database_url, redis_url, clock, origins=origins) as node:
        for origin in (*origins, "https://APP.example", f"http://127.0.0.1:{node.port}"):
            async with node.open(key, origin=origin) as client:
                assert (await client.receive())["type"] == "welcome"
        for origin in ("http://app.example", "https://app.example:8443", "https://x.app.example"):
            assert (await refused(node, key, origin=origin))[0] == 403
