"""Clients that send as much as the network takes: they get their turn with the others, and what they leave behind is bounded."""

import asyncio
import json
from uuid import uuid4

import pytest
from websockets.frames import Opcode

from hub.stream.codes import SLOW_READER
from hub.stream.frames import frame_close, frame_pong
from hub.stream.waiting import Waiting
from tests.harness.clock import ManualClock
from tests.harness.waiting import eventually
from tests.hub.stream.node import Node
from tests.hub.stream.peers import peers
from tests.hub.stream.raw_socket import BINARY, PING, TEXT, frame, raw_socket

ASK = b'{"type":"ping","id":1}'
HEAD = (
    "GET /v2/stream HTTP/1.{minor}\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\nConnection: Upgrade\r\n"
    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{extra}\r\n"
)


async def test_others_are_served_between_the_frames_of_a_flood(node: Node, key: str):
    """However much of it has come in one read."""
    count = 20_000
    async with raw_socket(node, key) as flood, raw_socket(node, key) as other:
        before = node.door.counts.frames_in
        flood.send(frame(TEXT, ASK) * count)
        for _ in range(5):
            other.send(frame(TEXT, ASK))
            assert json.loads(await other.receive())["type"] == "pong"
        assert node.door.counts.frames_in - before < count // 2
        await eventually(lambda: node.door.counts.frames_in - before == count + 5, what="all of it")
        await eventually(lambda: len(flood.frames) == count, what="all answers")


async def test_messages_of_a_flood_stay_in_order(node: Node, key: str):
    """Small and large ones, whose pieces end anywhere, with what has to be waited for among them."""
    sent = bytearray()
    for number in range(600):
        sent += frame(TEXT, b'{"type":"ping","id":%d,"padding":"%b"}' % (number, b"x" * (number * 37 % 9000)))
        if number % 50 == 0:
            sent += frame(TEXT, b'{"type":"history","channel":"chat:flood","id":"h"}') + frame(PING, b"%d" % number)
    async with raw_socket(node, key) as socket:
        socket.send(bytes(sent))
        answers = [json.loads(await socket.receive()) for _ in range(612)]
    assert [each["id"] for each in answers if each["id"] != "h"] == list(range(600))


async def test_close_behind_a_flood_is_answered(node: Node, key: str):
    """And a fault within one ends it."""
    async with raw_socket(node, key) as socket:
        socket.send(frame(TEXT, ASK) * 5000 + frame(BINARY, ASK, is_masked=False) + frame(TEXT, ASK) * 5000)
        assert await socket.close_code() == 1002
        assert sum(each.opcode is Opcode.TEXT for each in socket.frames) == 5000


async def test_of_pongs_that_wait_the_last_is_kept(clock: ManualClock):
    """RFC 6455, section 5.5.3: a client that pings and does not read holds one answer, not all of them."""
    async with peers(clock) as [peer]:
        account = Waiting(per_organisation=1 << 40, most=1 << 40).of(uuid4())
        peer.outbound.count_in(account)
        peer.fill()
        full = peer.outbound.held_bytes
        for number in range(1000):
            peer.outbound.write_control(frame_pong(b"%03d" % number))
        assert peer.outbound.held_bytes == account.bytes == full + len(frame_pong(b"999"))
        peer.outbound.write(b"\x81\x00")
        peer.outbound.write_control(frame_pong(b"end"))

        def pongs() -> list[bytes]:
            peer.read_some()
            return [bytes(each.data) for each in peer.frames if each.opcode is Opcode.PONG and each.data]

        await eventually(lambda: pongs() == [b"999", b"end"], what="two pongs")
        assert account.bytes == 0


async def test_answers_to_pings_after_the_end_are_in_no_account(clock: ManualClock):
    """Nothing would ever take them out again."""
    async with peers(clock) as [peer]:
        waiting = Waiting(per_organisation=1 << 40, most=1 << 40)
        account = waiting.of(uuid4())
        peer.outbound.count_in(account)
        peer.fill()
        assert account.bytes > 0
        peer.outbound.shut(frame_close(SLOW_READER))
        peer.outbound.write_control(frame_pong(b"x" * 100))
        peer.outbound.abort()
        await asyncio.sleep(0)
        assert (account.bytes, waiting.bytes, peer.outbound.held_bytes) == (0, 0, 0)


@pytest.mark.parametrize(
    ("minor", "extra", "body"),
    [
        (1, "Content-Length: 5\r\n", b"hello"),
        (1, "Content-Length: 50\r\n", b""),
        (1, "Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
        (0, "", b""),
    ],
)
async def test_handshake_has_no_body_and_is_of_http_1_1(node: Node, key: str, minor: int, extra: str, body: bytes):
    """RFC 6455, section 4.2.1: else the rest of a body would be read as frames."""
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    writer.write(HEAD.format(minor=minor, key=key, extra=extra).encode() + body)
    assert b" 400 " in await asyncio.wait_for(reader.readline(), 10)
    writer.close()
    await writer.wait_closed()
    assert node.door.counts.opened == 0
