"""How streams end, and what does not end them."""

import asyncio
import contextlib
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
import structlog
from websockets.exceptions import ConnectionClosed, InvalidStatus

from core.auth.caller import Caller
from core.auth.reference import Reference
from core.errors import HubError
from core.events.event import LogHead
from hub.stream.codes import BAD_DATA, INTERNAL, PROTOCOL_ABUSE, PROTOCOL_ERROR, RESTART, SLOW_READER, TOO_BIG
from hub.stream.settings import StreamSettings
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation
from tests.harness.waiting import eventually
from tests.hub.stream.node import Node, numbers_of, serve

TIGHT = StreamSettings(waiting_bytes=1024 * 1024)


class Credentials:
    """An authenticator with a list of its own, to change what a credential may."""

    def __init__(self, callers: Mapping[str, Caller]) -> None:
        self._callers = callers

    async def authenticate(self, credential: str) -> Caller:
        if credential not in self._callers:
            raise HubError("INVALID_API_KEY")
        return self._callers[credential]

    async def stand(self, reference: Reference) -> Caller:
        raise AssertionError("nothing stands for a credential here")

    async def check(self, references: Collection[Reference]) -> Mapping[Reference, Caller | HubError]:
        return {}


class SlowCredentials(Credentials):
    """One that answers when `answers` is set."""

    def __init__(self, callers: Mapping[str, Caller]) -> None:
        super().__init__(callers)
        self.asked = asyncio.Event()
        self.answers = asyncio.Event()

    async def authenticate(self, credential: str) -> Caller:
        self.asked.set()
        await self.answers.wait()
        return await super().authenticate(credential)


class BrokenLog:
    """A log whose reading fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.asked = 0

    async def head(self, org_id: Any) -> LogHead:
        self.asked += 1
        raise self.error

    async def read(self, *_: Any, **__: Any) -> list[Any]:
        raise self.error


class TestBadInput:
    """The connection lives unless the code says otherwise."""

    @pytest.mark.parametrize(
        ("sent", "code"),
        [
            ("{", "BAD_REQUEST"),
            ("[]", "BAD_REQUEST"),
            ('{"type":"shout"}', "UNKNOWN_FRAME_TYPE"),
            ('{"type":"subscribe"}', "VALIDATION_ERROR"),
            (b'{"type":"ping"}', "UNSUPPORTED_MEDIA_TYPE"),
        ],
    )
    async def test_bad_frame_is_answered(self, node: Node, key: str, sent: str | bytes, code: str):
        """With the error object of REST; `request_id` is the connection's id."""
        async with node.open(key) as client:
            welcome = await client.receive()
            await client.send(sent)
            error = (await client.expect("error"))["error"]
            assert list(error) == ["code", "message", "details", "request_id", "timestamp"]
            assert (error["code"], error["request_id"]) == (code, welcome["connection"])
            assert (await client.ask({"type": "ping"}))["type"] == "pong"

    @pytest.mark.parametrize("size", [65_537, 100_000, 300_000, 5_000_000])
    async def test_message_over_64_kib_ends_it(self, node: Node, key: str, size: int):
        """Whether the hub reads it whole or stops in the middle."""
        async with node.open(key) as client:
            await client.receive()
            with contextlib.suppress(ConnectionClosed):
                await client.send(" " * size)
            assert await client.closed() == TOO_BIG.code

    async def test_fragments_count_together(self, node: Node, key: str):
        """RFC 6455, section 5.4: the message is the sum of its frames."""
        async with node.open(key) as client:
            await client.receive()
            await client.socket.send([" " * 30_000 for _ in range(3)])
            assert await client.closed() == TOO_BIG.code

    async def test_text_that_is_no_utf8_ends_it(self, node: Node, key: str):
        """RFC 6455, section 8.1."""
        async with node.open(key) as client:
            await client.receive()
            await client.socket.send(b"\xff\xfe", text=True)
            assert await client.closed() == BAD_DATA.code

    async def test_bytes_that_are_no_frames_end_it(self, node: Node, key: str):
        """RFC 6455, section 5.2: reserved bits without an extension."""
        async with node.open(key) as client:
            await client.receive()
            client.socket.transport.write(b"\xf1\x80\x00\x00\x00\x00")
            assert await client.closed() == PROTOCOL_ERROR.code

    async def test_hundred_bad_frames_in_a_row_end_it(self, node: Node, key: str):
        """Each is answered first."""
        async with node.open(key) as client:
            await client.receive()
            for _ in range(100):
                await client.send("{")
            assert await client.closed() == PROTOCOL_ABUSE.code
            assert [frame["type"] for frame in client.frames].count("error") == 100


class TestSlowReader:
    """Memory is bounded; a slow client is cut with a code that brings it back."""

    async def test_it_is_cut_and_others_are_not(
        self, database_url: str, redis_url: str, clock: ManualClock, key: str, organisation: Organisation
    ):
        """What was on the way arrives, then the code; it recovers from its offset."""
        async with (
            serve(database_url, redis_url, clock, settings=TIGHT) as node,
            node.joined(key, "agents") as slow,
            node.joined(key, "agents") as other,
        ):
            slow.socket.transport.pause_reading()
            numbers: list[int] = []
            for _ in range(30):
                new = await node.emit(organisation.id, 20, padding=30_000)
                assert numbers_of(await other.events(20)) == new
                numbers += new
            slow.socket.transport.resume_reading()
            assert await slow.closed() == SLOW_READER.code
            got = [frame for frame in slow.frames if frame["type"] == "event"]
            assert numbers_of(got) == numbers[: len(got)]
            assert len(got) < len(numbers)
            item = {"channel": "agents", "offset": got[-1]["offset"] if got else 0}
            async with node.joined(key, item) as again:
                assert numbers_of(await again.events(len(numbers) - len(got))) == numbers[len(got) :]

    async def test_one_that_never_reads_on_is_dropped(
        self, database_url: str, redis_url: str, clock: ManualClock, key: str, organisation: Organisation
    ):
        """Five seconds after the close frame, whether it was read or not."""
        async with (
            serve(database_url, redis_url, clock, settings=TIGHT) as node,
            node.joined(key, "agents") as slow,
            node.joined(key, "agents") as other,
        ):
            slow.socket.transport.pause_reading()
            for _ in range(30):
                await node.emit(organisation.id, 20, padding=30_000)
                await other.events(20)
            await clock.advance(6)
            await eventually(lambda: node.door.connections == 1)
            slow.socket.transport.abort()


class TestDrain:
    """A node that stops sends its sockets elsewhere."""

    async def test_each_gets_a_slot_and_the_code(self, node: Node, key: str, clock: ManualClock):
        """Slots spread the return; the drain is over when all are gone."""
        async with node.joined(key, "agents") as one, node.joined(key, "twins") as two, node.open() as three:
            await node.door.drain(clock.monotonic() + 10)
            slots: list[int] = []
            for client in (one, two, three):
                frame = await client.expect("disconnect")
                assert (frame["reconnect"], frame["code"]) == (True, RESTART.code)
                slots.append(frame["after_ms"])
                assert await client.closed() == RESTART.code
            assert slots == [0, 2, 4]
            assert node.door.connections == 0

    async def test_no_new_sockets(self, node: Node, key: str, clock: ManualClock):
        """503: another node, or this one later."""
        await node.door.drain(clock.monotonic() + 10)
        with pytest.raises(InvalidStatus) as refused:
            async with node.open(key):
                pass
        assert refused.value.response.status_code == 503

    @pytest.mark.parametrize("end", ["drain", "close"])
    async def test_socket_whose_handshake_had_begun_leaves_too(
        self, end: str, database_url: str, redis_url: str, organisation: Organisation, clock: ManualClock
    ):
        """Nobody counts it yet when the others are sent away; it must not outlive the node's end."""
        credentials = SlowCredentials({"key": organisation.caller()})
        async with serve(database_url, redis_url, clock, authenticator=credentials) as node:
            opening = asyncio.ensure_future(self._opened_and_ended(node))
            await credentials.asked.wait()
            await (node.door.drain(clock.monotonic() + 10) if end == "drain" else node.door.close())
            credentials.answers.set()
            assert await asyncio.wait_for(opening, 5) == (RESTART.code if end == "drain" else 1006)
            await eventually(lambda: node.door.connections == 0, what="it has left")

    async def _opened_and_ended(self, node: Node) -> int:
        async with node.open("key") as client:
            return await client.closed()

    async def test_it_does_not_wait_longer_than_it_may(self, node: Node, key: str, clock: ManualClock):
        """A client that answers nothing does not hold the node."""
        async with node.joined(key, "agents") as client:
            client.socket.transport.pause_reading()
            drain = asyncio.ensure_future(node.door.drain(clock.monotonic() + 3))
            await clock.advance(2)
            assert not drain.done()
            await clock.advance(2)
            await drain
            assert node.door.connections == 1
            client.socket.transport.abort()


class TestFaults:
    """Faults of the hub's own, and engines that are away."""

    async def test_fault_ends_one_connection_with_a_code_that_comes_back(
        self, database_url: str, redis_url: str, clock: ManualClock, key: str
    ):
        """It is logged under the connection's id; its text never reaches the client."""
        broken = BrokenLog(RuntimeError("a secret"))
        async with (
            serve(database_url, redis_url, clock, log=broken) as node,
            node.open(key) as client,
            node.joined(key, "agents") as other,
        ):
            connection = (await client.receive())["connection"]
            with structlog.testing.capture_logs() as logs:
                await client.send({"type": "subscribe", "channels": [{"channel": "agents", "offset": 5}]})
                assert await client.closed() == INTERNAL.code
            assert [each["connection"] for each in logs if each["event"] == "stream_crashed"] == [connection]
            assert "secret" not in str(client.frames) + client.close_reason
            assert (await other.ask({"type": "ping"}))["type"] == "pong"

    async def test_subscribe_waits_for_the_log_then_is_refused(
        self, database_url: str, redis_url: str, clock: ManualClock, key: str
    ):
        """Ten seconds; then the channel stands with the error, and may be asked for again."""
        away = BrokenLog(HubError("SERVICE_UNAVAILABLE", retry_after=1))
        async with serve(database_url, redis_url, clock, log=away) as node, node.open(key) as client:
            await client.receive()
            await client.send({"id": 1, "type": "subscribe", "channels": [{"channel": "agents", "offset": 5}]})
            await eventually(lambda: away.asked)
            await clock.advance(9)
            assert (await client.ask({"type": "ping"})).get("position") is None
            await clock.advance(3)
            (refused,) = (await client.expect("subscribed"))["channels"]
            assert refused["error"]["code"] == "SERVICE_UNAVAILABLE"
            (joined,) = (await client.subscribe("agents"))["channels"]
            assert "error" not in joined


class TestRenewal:
    """A credential that may less."""

    async def test_channels_that_it_may_not_have_are_left(
        self, database_url: str, redis_url: str, clock: ManualClock, organisation: Organisation
    ):
        """Each with the reason; the others go on."""
        caller = organisation.caller(["read:agents", "read:twins"])
        credentials = Credentials({"all": caller, "less": replace(caller, scopes=frozenset({"read:twins"}))})
        async with (
            serve(database_url, redis_url, clock, authenticator=credentials) as node,
            node.joined("all", "agents", "twins") as client,
        ):
            await client.authenticate("less")
            left = await client.expect("unsubscribed")
            assert (left["channels"], left["error"]["code"]) == (["agents"], "INSUFFICIENT_SCOPE")
            await node.emit(organisation.id)
            await node.emit(organisation.id, 1, f"twins:{uuid4()}")
            assert numbers_of(await client.events(1)) == [2]
