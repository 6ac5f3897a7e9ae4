"""Compression on real connections: who gets it, what is compressed and how often, and what a client's compressed bytes may cost."""

import asyncio
import json
import tracemalloc
import zlib
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from websockets.extensions.permessage_deflate import PerMessageDeflate

from tests.harness.organisations import Organisation
from tests.harness.stream_client import StreamClient
from tests.harness.waiting import eventually
from tests.hub.stream.node import Node, numbers_of
from tests.hub.stream.raw_socket import BINARY, CONTINUATION, PING, PONG, TEXT, frame, raw_socket
from tests.hub.stream.test_rfc6455 import Case, bomb, named

OFFER = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
# As browsers write it.
CHROMIUM = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
ASK = b'{"type":"ping","id":1}'
ANSWER = {"type": "pong", "id": 1}


def packed(data: bytes, level: int = 6) -> bytes:
    """Return the payload of a compressed message."""
    packer = zlib.compressobj(level, zlib.DEFLATED, -15)
    return (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


def compressed(data: bytes, opcode: int = TEXT) -> bytes:
    """Return a compressed message in one frame."""
    return frame(opcode, packed(data), rsv=4)


ZIPPED = packed(ASK)
FATAL = [
    *(Case(f"reserved bits {rsv:03b} on text", "6", frame(TEXT, ZIPPED, rsv=rsv), 1002) for rsv in (1, 2, 3, 5, 6, 7)),
    *(Case(f"reserved bits {rsv:03b} on a ping", "6", frame(PING, b"x", rsv=rsv), 1002) for rsv in (1, 2, 4)),
    Case("compressed pong", "6", frame(PONG, packed(b"x"), rsv=4), 1002),
    Case("compressed close", "6", frame(0x8, packed(b"\x03\xe8"), rsv=4), 1002),
    Case("RSV1 on a continuation", "6.1", frame(TEXT, ASK[:5], fin=False) + frame(CONTINUATION, ASK[5:], rsv=4), 1002),
    Case(
        "RSV1 on every fragment",
        "6.1",
        frame(TEXT, ZIPPED[:5], fin=False, rsv=4) + frame(CONTINUATION, ZIPPED[5:], rsv=4),
        1002,
    ),
    Case("compressed text without a mask", "RFC 6455, 5.1", frame(TEXT, ZIPPED, rsv=4, is_masked=False), 1002),
    Case("compressed text within a message", "RFC 6455, 5.4", frame(TEXT, b"{", fin=False) + compressed(ASK), 1002),
    Case("no DEFLATE data", "7.2.2", frame(TEXT, b"\xff\xff\xff\xff", rsv=4), 1007),
    Case("plain text under RSV1", "7.2.2", frame(TEXT, ASK, rsv=4), 1007),
    Case("cut short", "7.2.2", frame(TEXT, ZIPPED[:-2], rsv=4), 1007),
    Case("context of the message before", "7.1.1.2", b"", 1007),
    Case("text that is no UTF-8", "RFC 6455, 8.1", compressed(b'{"type":"\xff"}'), 1007),
    Case("bomb", "8", frame(TEXT, bomb(), rsv=4), 1009),
    Case("bomb in binary", "8", frame(BINARY, bomb(), rsv=4), 1009),
    Case(
        "bomb in fragments", "8", frame(TEXT, bomb()[:100], fin=False, rsv=4) + frame(CONTINUATION, bomb()[100:]), 1009
    ),
    Case("one byte over 64 KiB", "8", compressed(b"x" * 65537), 1009),
    Case("compressed bytes over 128 KiB", "8", frame(TEXT, b"\x00" * (128 * 1024 + 1), rsv=4), 1009),
    Case("a terabyte announced", "8", frame(TEXT, length=b"\x7f" + (1 << 40).to_bytes(8, "big"), rsv=4), 1009),
]
PASSES = [
    Case("compressed", "7.2.1", compressed(ASK), 0),
    Case("plain", "6", frame(TEXT, ASK), 0),
    Case("two blocks", "7.2.3.5", b"", 0),
    Case("stored", "7.2.3.3", frame(TEXT, packed(ASK, level=0), rsv=4), 0),
    Case(
        "fragments, a ping between them",
        "6.1",
        frame(TEXT, ZIPPED[:3], fin=False, rsv=4)
        + frame(PING, b"x")
        + frame(CONTINUATION, fin=False)
        + frame(CONTINUATION, ZIPPED[3:]),
        0,
    ),
    Case("first fragment empty", "6.1", frame(TEXT, fin=False, rsv=4) + frame(CONTINUATION, ZIPPED), 0),
    Case("64 KiB", "8", compressed(b'{"type":"ping","id":1,"pad":"' + b"x" * (65536 - 31) + b'"}'), 0),
]


def bytes_of(case: Case) -> bytes:
    """Return what is sent; cases that are long to write are built here."""
    if case.name == "two blocks":
        packer = zlib.compressobj(6, zlib.DEFLATED, -15)
        first = packer.compress(ASK[:10]) + packer.flush(zlib.Z_SYNC_FLUSH)
        return frame(TEXT, first + (packer.compress(ASK[10:]) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4], rsv=4)
    if case.name == "context of the message before":
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        text = b'{"type":"ping","id":1,"pad":"' + bytes(range(35, 91)) + b'"}'
        one, two = ((packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4] for _ in range(2))
        assert len(two) < len(one) / 2
        return frame(TEXT, one, rsv=4) + frame(TEXT, two, rsv=4)
    return case.sent


class TestHandshake:
    @pytest.mark.parametrize("offer", [OFFER, CHROMIUM, OFFER.replace("permessage", "x-a, permessage")])
    async def test_who_offers_gets_it(self, node: Node, key: str, offer: str):
        """Also where the offers come in lines of their own."""
        for extra in (offer, f"Sec-WebSocket-Extensions: x-b; c\r\n{offer}"):
            async with raw_socket(node, key, extra=extra) as socket:
                assert socket.is_compressed

    @pytest.mark.parametrize("offer", ["", "x-other", "permessage-deflate; server_max_window_bits=9"])
    async def test_who_offers_nothing_that_can_be_kept_stays_plain(self, node: Node, key: str, offer: str):
        """And RSV1 stays a fault there."""
        async with raw_socket(node, key, extra=offer and f"Sec-WebSocket-Extensions: {offer}\r\n") as socket:
            assert not socket.is_compressed
            socket.send(compressed(ASK))
            assert await socket.close_code() == 1002

    async def test_malformed_offer_is_refused(self, node: Node, key: str):
        """RFC 6455, section 9.1."""
        headers = {"Sec-WebSocket-Extensions": 'permessage-deflate; a="', "Authorization": f"Bearer {key}"}
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(node.url, headers=headers)
        assert refused.value.status == 400
        assert node.door.connections == 0

    async def test_compressed_frames_that_come_with_the_request_are_read(self, node: Node, key: str):
        """A client ought to wait for the answer; one that guesses it loses nothing."""
        async with raw_socket(node, key, extra=OFFER, early=compressed(ASK)) as socket:
            assert json.loads(await socket.receive()) == ANSWER


class TestReading:
    @pytest.mark.parametrize("is_slow", [False, True], ids=["at once", "byte by byte"])
    async def test_every_fault_ends_with_its_code(self, node: Node, key: str, *, is_slow: bool):
        """One close frame with the code of the table, then the end; however TCP cuts the bytes."""
        cases = [case for case in FATAL if not is_slow or len(case.sent) < 400]
        seen: dict[str, int] = {}
        for case in cases:
            async with raw_socket(node, key, extra=OFFER) as socket:
                if is_slow:
                    await socket.send_slowly(bytes_of(case))
                else:
                    socket.send(bytes_of(case))
                seen[named(case)] = await socket.close_code()
        assert seen == {named(case): case.code for case in cases}

    @pytest.mark.parametrize("is_slow", [False, True], ids=["at once", "byte by byte"])
    async def test_what_is_allowed_is_answered(self, node: Node, key: str, *, is_slow: bool):
        """One after the other on one connection: none needs what came before it."""
        async with raw_socket(node, key, extra=OFFER) as socket:
            for case in (*PASSES, *PASSES):
                data = bytes_of(case)
                if is_slow and len(data) < 1000:
                    await socket.send_slowly(data)
                else:
                    socket.send(data)
                assert json.loads(await socket.receive()) == ANSWER, case.name

    async def test_empty_messages_are_refused_as_frames_and_the_connection_lives(self, node: Node, key: str):
        """RFC 7692, section 7.2.3.6; some compressors make nothing at all of them."""
        async with raw_socket(node, key, extra=OFFER) as socket:
            for payload in (b"\x00", b"\x02\x00", b""):
                socket.send(frame(TEXT, payload, rsv=4))
                assert json.loads(await socket.receive())["error"]["code"] == "BAD_REQUEST"

    async def test_burst_of_large_messages_is_not_there_at_once(self, node: Node, key: str):
        """3,000 messages of 64 KiB come in 250 KiB: they are inflated in their turn, until the connection is ended for them."""
        async with raw_socket(node, key, extra=OFFER) as socket:
            tracemalloc.start()
            try:
                socket.send(compressed(b" " * 65536) * 3000)
                assert await socket.close_code() == 4504
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
        assert peak < 8 * 1024 * 1024

    async def test_others_have_their_turns_while_much_is_inflated(self, node: Node, key: str):
        """A read may hold thousands of messages that stand for 64 KiB each."""
        ask = compressed(b'{"type":"ping","id":1,"pad":"' + b"x" * 60_000 + b'"}')
        async with raw_socket(node, key, extra=OFFER) as socket:
            pongs = turns = 0
            socket.send(ask * 300)
            while pongs < 300:
                await asyncio.sleep(0)
                turns += 1
                pongs = sum(b'"pong"' in bytes(each.data) for each in socket.frames)
        assert turns > 100


class Sizes:
    """What came to a client that only counts it, and answers nothing."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.answers = 0
        self.bytes = 0

    async def read(self) -> None:
        while data := await self.reader.read(65536):
            self.answers += data.count(b'"pong"')
            self.bytes += len(data)


async def counting(node: Node, key: str, stack: AsyncExitStack) -> Sizes:
    """Open a connection that has subscribed to `agents`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    writer.write(
        f"GET /v2/stream HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {key}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{OFFER}\r\n".encode()
    )
    await reader.readuntil(b'"welcome"')
    writer.write(frame(TEXT, b'{"type":"subscribe","channels":["agents"]}'))
    await reader.readuntil(b'"subscribed"')
    sizes = Sizes(reader, writer)
    reading = asyncio.create_task(sizes.read())

    async def end() -> None:
        writer.transport.abort()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)

    stack.push_async_callback(end)
    return sizes


async def test_nothing_is_kept_for_a_connection_that_has_compressed(node: Node, key: str, organisation: Organisation):
    """Neither an inflator nor a compressor: each would be some 40 KiB, or 250."""
    async with AsyncExitStack() as stack:
        clients = [await counting(node, key, stack) for _ in range(60)]

        async def traffic(ask: bytes, answers: int) -> int:
            """Let everybody ask, and tell everybody something; return what is allocated then."""
            before = clients[0].bytes
            await node.emit(organisation.id, 3, padding=2000)
            await eventually(lambda: all(each.bytes > before for each in clients))
            for each in clients:
                each.writer.write(ask)
            await eventually(lambda: all(each.answers == answers for each in clients))
            return tracemalloc.get_traced_memory()[0]

        await node.emit(organisation.id, 1, padding=2000)
        tracemalloc.start()
        try:
            plain = await traffic(frame(TEXT, ASK), 1)
            await traffic(compressed(ASK), 2)
            after = await traffic(compressed(ASK), 3)
        finally:
            tracemalloc.stop()
        assert (after - plain) / len(clients) < 4096


async def aiohttp_events(node: Node, key: str, count: int, joined: asyncio.Event) -> list[int]:
    """Return the numbers of what an aiohttp client, which compresses what it sends, gets of `agents`."""
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession() as session, session.ws_connect(node.url, headers=headers, compress=15) as socket:
        assert socket.compress == 15
        frames: list[Any] = [await socket.receive_json()]
        for ask in ({"type": "ping"}, {"type": "subscribe", "channels": ["agents"]}):
            await socket.send_json(ask)
            frames.append(await socket.receive_json())
        assert [each["type"] for each in frames] == ["welcome", "pong", "subscribed"]
        joined.set()
        return numbers_of([await socket.receive_json() for _ in range(count)])


class TestSending:
    async def test_members_of_every_form_get_the_same_and_an_event_is_compressed_once_for_each_form(
        self, node: Node, key: str, organisation: Organisation
    ):
        """Fifty compressed members in two channels of each event, beside plain ones, and one of another library."""
        channel = "agents:0192f7d4-0000-7000-8000-000000000001"
        async with AsyncExitStack() as stack:
            clients: list[StreamClient] = []
            for index in range(54):
                packs = index % 2
                client = await stack.enter_async_context(
                    node.open(
                        key,
                        compression="deflate" if index < 50 else None,
                        subprotocols=["aimatrix.msgpack"] if packs else None,
                    )
                )
                assert [type(each) for each in client.socket.protocol.extensions] == [PerMessageDeflate] * (index < 50)
                await client.subscribe("agents", channel)
                clients.append(client)
            joined = asyncio.Event()
            other = asyncio.create_task(aiohttp_events(node, key, 20, joined))
            await joined.wait()
            before = node.door.counts.compressions
            emitted = await node.emit(organisation.id, 20, channel, padding=500)
            got = [[frame for _ in emitted for frame in await client.events(2)] for client in clients]
            assert node.door.counts.compressions - before == 2 * len(emitted)
            assert await other == emitted
        assert [frame["event"]["data"]["number"] for frame in got[0]] == [each for each in emitted for _ in range(2)]
        assert all(each == got[0] for each in got)

    async def test_nothing_is_compressed_where_nobody_wants_it(self, node: Node, key: str, organisation: Organisation):
        """Nor for those who have left."""
        async with node.open(key, compression="deflate") as client, node.joined(key, "agents") as plain:
            await client.subscribe("agents")
            await client.ask({"type": "unsubscribe", "channels": ["agents"]})
            await node.emit(organisation.id, 5, padding=500)
            await plain.events(5)
            assert node.door.counts.compressions == 0

    @pytest.mark.parametrize("form", ["aimatrix.json", "aimatrix.msgpack"])
    async def test_who_returns_gets_what_was_missed_and_the_rest(
        self, node: Node, key: str, organisation: Organisation, form: str
    ):
        """What several have missed is compressed once for them."""
        emitted = await node.emit(organisation.id, 150, padding=600)
        await node.logged(organisation.id, 150)
        async with AsyncExitStack() as stack:
            clients: list[StreamClient] = []
            for _ in range(3):
                client = await stack.enter_async_context(node.open(key, compression="deflate", subprotocols=[form]))
                answer = await client.subscribe({"channel": "agents", "offset": "0"})
                assert answer["channels"][0]["recovered"]
                assert numbers_of(await client.events(150)) == emitted
                clients.append(client)
            last = await node.emit(organisation.id, padding=600)
            assert [numbers_of(await client.events(1)) for client in clients] == [last] * 3
        assert node.door.counts.compressions == 151

    async def test_live_rooms_history_and_calls_work_compressed(self, node: Node, key: str):
        """Both ways, in both forms."""
        for form in ("aimatrix.json", "aimatrix.msgpack"):
            async with node.open(key, compression="deflate", subprotocols=[form]) as client:
                await client.subscribe("chat:lobby")
                texts = [f"{number} of many words " * 100 for number in range(5)]
                for text in texts:
                    answer = await client.ask({"type": "publish", "channel": "chat:lobby", "data": {"text": text}})
                    assert answer["type"] == "result"
                said = [each for each in client.frames if each["type"] == "event"]
                said += await client.events(5 - len(said))
                assert [each["event"]["data"]["text"] for each in said] == texts
                before = node.door.counts.compressions
                told = await client.ask({"type": "history", "channel": "chat:lobby", "limit": 5})
                assert [each["event"]["data"]["text"] for each in told["result"]["events"]] == texts
                made = await client.ask(
                    {
                        "type": "call",
                        "operation": "agents.create",
                        "input": {"name": "Ada", "config": {"text": texts[0]}},
                    }
                )
                assert made["result"]["config"]["text"] == texts[0]
                assert node.door.counts.compressions == before + 2
                assert (await client.ask({"type": "ping"}))["type"] == "pong"
                assert node.door.counts.compressions == before + 2

    async def test_credential_by_frame_and_end_are_as_without(self, node: Node, key: str, organisation: Organisation):
        """A first frame that is compressed; close frames are not."""
        async with node.open(compression="deflate") as client:
            assert (await client.authenticate(key))["type"] == "welcome"
            await organisation.revoke(key)
            assert node.door.connections == 1
            await client.socket.close(4321, "bye")
            assert client.socket.close_code == 4321
