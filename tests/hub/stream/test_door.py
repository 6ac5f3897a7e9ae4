"""Opening a stream: credentials, origins, and what is no upgrade."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

import aiohttp
import pytest
from websockets.exceptions import InvalidStatus

from core.auth.caller import Caller
from core.auth.reference import Reference
from core.errors import HubError
from hub.stream.codes import AUTHENTICATION_FAILED, AUTHENTICATION_TIMEOUT, CREDENTIAL_EXPIRED, CREDENTIAL_REVOKED
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation, Organisations
from tests.harness.waiting import eventually
from tests.hub.stream.node import Node, serve


async def status_of(node: Node, key: str | None = None, **options: Any) -> int:
    """Return the status of a handshake that is refused."""
    with pytest.raises(InvalidStatus) as refused:
        async with node.open(key, **options):
            pass
    return refused.value.response.status_code


class Slow:
    """An authenticator that says who it is when it is let: `asked` tells that it was asked, `answer` lets it."""

    def __init__(self, caller: Caller) -> None:
        self.asked, self.answer = asyncio.Event(), asyncio.Event()
        self._caller = caller

    async def authenticate(self, credential: str) -> Caller:
        self.asked.set()
        await self.answer.wait()
        return self._caller

    async def stand(self, reference: Reference) -> Caller:
        raise AssertionError("nothing stands for a credential here")

    async def check(self, references: Collection[Reference]) -> Mapping[Reference, Caller | HubError]:
        return {}


class TestCredential:
    """In the header or in the first frame."""

    async def test_welcome_comes_at_once_with_a_good_header(self, node: Node, key: str, organisation: Organisation):
        """It says who the connection speaks for, and the bounds."""
        async with node.open(key) as client:
            frame = await client.receive()
        assert frame["type"] == "welcome"
        assert frame["org_id"] == str(organisation.id)
        assert frame["subject"].startswith("key:")
        assert (frame["ping_interval_ms"], frame["max_frame_bytes"], frame["max_channels"]) == (25000, 65536, 128)

    @pytest.mark.parametrize("version", ["v1", "v2"])
    async def test_both_versions_have_the_stream(self, node: Node, key: str, version: str):
        """The protocol is the same."""
        node.url = f"ws://127.0.0.1:{node.port}/{version}/stream"
        async with node.open(key) as client:
            assert (await client.receive())["type"] == "welcome"

    async def test_bad_header_opens_no_socket(self, node: Node):
        """401 with the error object of REST."""
        with pytest.raises(InvalidStatus) as refused:
            async with node.open("aim_live_nonsense"):
                pass
        assert refused.value.response.status_code == 401
        assert b'"INVALID_API_KEY"' in refused.value.response.body

    async def test_first_frame_authenticates(self, node: Node, key: str, organisation: Organisation):
        """Nothing else is answered before; the reply carries the id."""
        async with node.open() as client:
            refused = await client.subscribe("agents")
            assert refused["error"]["code"] == "AUTHENTICATION_REQUIRED"
            welcome = await client.authenticate(key)
            assert (welcome["type"], welcome["org_id"]) == ("welcome", str(organisation.id))
            assert (await client.subscribe("agents"))["type"] == "subscribed"

    async def test_frames_may_follow_authenticate_at_once(self, node: Node, key: str):
        """A client need not wait for `welcome`."""
        async with node.open() as client:
            await client.send({"type": "authenticate", "token": key})
            await client.send({"type": "subscribe", "channels": ["agents"]})
            assert [(await client.receive())["type"] for _ in range(2)] == ["welcome", "subscribed"]

    async def test_without_credential_it_ends_after_ten_seconds(self, node: Node, clock: ManualClock):
        """Refused frames do not prolong it."""
        async with node.open() as client:
            await client.ask({"type": "ping"})
            await clock.advance(9)
            await client.ask({"type": "ping"})
            await clock.advance(2)
            assert await client.closed() == AUTHENTICATION_TIMEOUT.code

    async def test_third_bad_credential_ends_it(self, node: Node):
        """Each gets an answer."""
        async with node.open() as client:
            for _ in range(3):
                assert (await client.authenticate("aim_live_no"))["error"]["code"] == "INVALID_API_KEY"
            assert await client.closed() == AUTHENTICATION_FAILED.code

    async def test_expired_credential_ends_it(self, node: Node, organisation: Organisation, clock: ManualClock):
        """`welcome` says when; ten seconds later the code says to come back. Renewed in time it would go on."""
        ending = await organisation.key(expires_at=clock.now().replace(hour=1))
        async with node.open(ending) as client:
            assert (await client.receive())["expires_at"] == "2026-01-01T01:00:00.000000Z"
            await clock.advance(3590)
            assert (await client.ask({"type": "ping"}))["type"] == "pong"
            await clock.advance(19)
            assert (await client.ask({"type": "ping"}))["type"] == "pong"
            await clock.advance(2)
            assert await client.closed() == CREDENTIAL_EXPIRED.code

    async def test_revoked_key_ends_its_sockets_within_two_seconds(
        self, node: Node, organisation: Organisation, key: str, clock: ManualClock
    ):
        """Those of other keys go on."""
        other = await organisation.key()
        async with node.open(key) as client, node.open(other) as unconcerned:
            await client.receive()
            await organisation.revoke(key)
            await clock.advance(2)
            assert await client.closed() == CREDENTIAL_REVOKED.code
            assert (await unconcerned.ask({"type": "ping"}))["type"] == "pong"

    async def test_credential_is_renewed_by_the_same_frame(self, node: Node, key: str):
        """Same subject: welcome again, and what was subscribed stays."""
        async with node.joined(key, "agents") as client:
            assert (await client.authenticate(key))["type"] == "welcome"
            assert "position" in await client.ask({"type": "ping"})

    async def test_connection_never_changes_hands(self, node: Node, key: str, organisations: Organisations):
        """A key of another organisation, or another key, is refused."""
        stranger = await (await organisations.create()).key()
        async with node.joined(key, "agents") as client:
            assert (await client.authenticate(stranger))["error"]["code"] == "FORBIDDEN"
            assert (await client.ask({"type": "ping"}))["type"] == "pong"


class TestHandshake:
    """What is refused before a socket opens."""

    async def test_request_that_is_no_upgrade_is_a_bad_request(self, node: Node, key: str):
        """With the error object."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(
                f"http://127.0.0.1:{node.port}/v1/stream", headers={"Authorization": f"Bearer {key}"}
            ) as answer,
        ):
            assert answer.status == 400
            error = (await answer.json())["error"]
            assert (error["code"], "WebSocket handshake" in error["message"]) == ("BAD_REQUEST", True)

    @pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "file://127.0.0.1"])
    async def test_other_origin_is_refused(self, node: Node, key: str, origin: str):
        """RFC 6455, section 10.2: a page of another site must not use what a browser knows."""
        assert await status_of(node, key, origin=origin) == 403

    async def test_own_origin_passes(self, node: Node, key: str):
        """As the request addresses the hub, over TLS in front or not."""
        for scheme in ("http", "https"):
            async with node.open(key, origin=f"{scheme}://127.0.0.1:{node.port}") as client:
                assert (await client.receive())["type"] == "welcome"

    async def test_public_origin_passes(self, database_url: str, redis_url: str, clock: ManualClock, key: str):
        """The address that clients use, when a proxy changes the host."""
        async with serve(database_url, redis_url, clock, public_url="https://hub.example/base") as node:
            async with node.open(key, origin="https://hub.example") as client:
                assert (await client.receive())["type"] == "welcome"
            assert await status_of(node, key, origin="http://hub.example") == 403

    @pytest.mark.parametrize(
        ("offered", "chosen"),
        [(None, None), (["aimatrix.json"], "aimatrix.json"), (["x", "aimatrix.json"], "aimatrix.json"), (["x"], None)],
    )
    async def test_subprotocol_is_json(self, node: Node, key: str, offered: Any, chosen: str | None):
        """None, or only unknown ones: JSON all the same."""
        async with node.open(key, subprotocols=offered) as client:
            assert client.socket.subprotocol == chosen
            assert (await client.receive())["type"] == "welcome"

    async def test_client_that_goes_is_forgotten(self, node: Node, key: str):
        """With a close frame or without."""
        async with node.joined(key, "agents") as client:
            assert node.door.connections == 1
            await client.socket.close(4321, "bye")
            assert client.socket.close_code == 4321  # RFC 6455, section 5.5.1: the code is echoed
        await eventually(lambda: node.door.connections == 0)
        async with node.joined(key, "agents") as client:
            client.socket.transport.abort()
            await eventually(lambda: node.door.connections == 0)

    async def test_client_that_goes_during_the_handshake_is_no_fault(
        self,
        database_url: str,
        redis_url: str,
        clock: ManualClock,
        organisation: Organisation,
        caplog: pytest.LogCaptureFixture,
    ):
        """It left while its credential was looked up."""
        slow = Slow(organisation.caller())

        request = (
            b"GET /v1/stream HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer k\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        async with serve(database_url, redis_url, clock, authenticator=slow) as node:
            _, writer = await asyncio.open_connection("127.0.0.1", node.port)
            writer.write(request)
            await slow.asked.wait()
            writer.transport.abort()
            await clock.settle()
            slow.answer.set()
            async with node.open() as client:
                await client.ask({"type": "ping"})
            assert not [record for record in caplog.records if record.levelname == "ERROR"]

    async def test_client_that_goes_while_its_frame_is_looked_up_leaves_nothing(
        self, database_url: str, redis_url: str, clock: ManualClock, organisation: Organisation
    ):
        """No seat, no room, no socket that would be counted for ever."""
        slow = Slow(organisation.caller())

        async with serve(database_url, redis_url, clock, authenticator=slow) as node:
            async with node.open() as client:
                await client.send({"type": "authenticate", "token": "k"})
                await slow.asked.wait()
                client.socket.transport.abort()
            assert node.door.connections == 1  # what it asked for is still under way
            slow.answer.set()
            await eventually(lambda: node.door.connections == 0)
            await eventually(lambda: node.seats.held(organisation.id) == 0)
