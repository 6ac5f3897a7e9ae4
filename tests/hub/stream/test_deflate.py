"""Compression without connections: what the hub makes is read by others, what others make is read by the hub, within bounds."""

import contextlib
import json
import random
import zlib
from typing import Any

import msgpack
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from core.events.event import Entry
from hub.stream.codes import BAD_DATA, TOO_BIG, CloseCode
from hub.stream.counts import StreamCounts
from hub.stream.deflate import MOST_STREAMS, InflatesTooFar, NotDeflate, deflated, inflated, stored
from hub.stream.deflated_wire import LEAST_EVENT_BYTES, LEAST_FRAME_BYTES, MOST_FRAME_BYTES, DeflatedWire
from hub.stream.inflation import Inflation
from hub.stream.wires import JsonWire, MsgpackWire, Wire
from rooms.live_wire import LiveEntry

MOST = 65_536
WORDS = ("agent", "knowledge", "twin", "answer", "question", "minute", "pressure")
DATA = st.binary(max_size=2000) | st.text("ab ", max_size=5000).map(str.encode)


def packed(data: bytes, *, level: int = 6, bits: int = 15, flush: int = zlib.Z_SYNC_FLUSH) -> bytes:
    """Return a message as a client would compress it."""
    packer = zlib.compressobj(level, zlib.DEFLATED, -bits)
    return (packer.compress(data) + packer.flush(flush)).removesuffix(b"\x00\x00\xff\xff")


def read(data: bytes) -> list[Frame]:
    """Return the frames of `data` as the websockets library inflates them, each by itself, in the smallest window."""
    client = ClientProtocol(parse_uri("ws://localhost/"), state=OPEN, max_size=None)
    client.extensions = [PerMessageDeflate(True, True, 12, 15)]  # noqa: FBT003 - the library's
    client.receive_data(data)
    assert client.parser_exc is None
    return [event for event in client.events_received() if isinstance(event, Frame)]


def is_compressed(frame: bytes) -> bool:
    return bool(frame[0] & 0x40)


class TestDeflated:
    @given(DATA)
    def test_it_is_read_by_zlib_in_a_small_window(self, data: bytes):
        """RFC 7692, section 7.2.2: the tail put back; 4 KiB are enough, as was agreed."""
        assert zlib.decompressobj(-12).decompress(deflated(data) + b"\x00\x00\xff\xff") == data
        assert inflated(deflated(data), max(1, len(data))) == data

    @given(st.binary(max_size=3000), DATA)
    def test_what_is_stored_may_stand_before_it(self, head: bytes, data: bytes):
        """The head of a frame is not compressed."""
        assert inflated(stored(head) + deflated(data), 10_000) == head + data

    def test_what_is_stored_may_be_as_long_as_a_block(self):
        """RFC 1951, section 3.2.4."""
        assert inflated(stored(b"x" * 65535) + deflated(b"y"), 70_000) == b"x" * 65535 + b"y"


class TestInflated:
    @given(DATA, st.integers(0, 9), st.integers(9, 15), st.sampled_from([zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH]))
    def test_any_compressor_is_understood(self, data: bytes, level: int, bits: int, flush: int):
        """Whatever level and window; aiohttp's client forgets its context by full flushes."""
        assert inflated(packed(data, level=level, bits=bits, flush=flush), MOST) == data

    @pytest.mark.parametrize(
        ("sent", "text"),
        [
            ("f248cdc9c90700", b"Hello"),  # 7.2.3.1: one block
            ("000500faff48656c6c6f00", b"Hello"),  # 7.2.3.3: without compression
            ("f348cdc9c9070000", b"Hello"),  # 7.2.3.4: a final block
            ("f24805000000ffffcac9c90700", b"Hello"),  # 7.2.3.5: two blocks
            ("00", b""),  # 7.2.3.6: nothing
            ("0200", b""),
            ("", b""),
        ],
    )
    def test_examples_of_the_rfc(self, sent: str, text: bytes):
        """RFC 7692, section 7.2.3."""
        assert inflated(bytes.fromhex(sent), MOST) == text

    def test_block_after_a_final_one_may_point_back_to_before_it(self):
        """RFC 7692, section 7.2.1: blocks of either kind, in one window."""
        text = b"a text that comes again, " * 3
        first = zlib.compressobj(6, zlib.DEFLATED, -15)
        second = zlib.compressobj(6, zlib.DEFLATED, -15, zdict=text)
        sent = first.compress(text) + first.flush() + second.compress(text) + second.flush(zlib.Z_SYNC_FLUSH)
        assert inflated(sent[:-4], MOST) == text * 2

    @pytest.mark.parametrize("size", [MOST - 1, MOST, MOST + 1, 16 * 1024 * 1024])
    def test_bound_is_on_what_it_stands_for(self, size: int):
        """Both sides of it."""
        sent = packed(bytes(size), level=9)
        if size <= MOST:
            assert inflated(sent, MOST) == bytes(size)
        else:
            with pytest.raises(InflatesTooFar):
                inflated(sent, MOST)

    def test_many_streams_in_one_message_are_refused(self):
        """Each costs an inflator: a message of 128 KiB could begin 65,000."""
        final = b"\x03\x00"
        assert inflated(final * (MOST_STREAMS - 2) + b"\x00", MOST) == b""
        with pytest.raises(NotDeflate):
            inflated(final * 65_000, MOST)

    @pytest.mark.parametrize("level", [1, 6, 9])
    @pytest.mark.parametrize("size", [20, 200, 2000])
    def test_what_is_cut_short_is_refused(self, size: int, level: int):
        """Anywhere: a stream must end where its message ends. Of random bytes a part may happen to be whole."""
        sent = packed(envelope(size).encode(), level=level)
        for end in range(1, len(sent)):
            with pytest.raises(NotDeflate):
                inflated(sent[:end], MOST)

    @given(st.binary(max_size=500))
    def test_any_bytes_are_inflated_or_refused(self, data: bytes):
        """Never another error, never over the bound."""
        with contextlib.suppress(InflatesTooFar, NotDeflate):
            assert len(inflated(data, 1000)) <= 1000


class TestInflation:
    TEXT, BINARY, CONTINUATION, PING = 0x81, 0x82, 0x80, 0x89

    def test_messages_are_opened_in_their_order(self):
        """Plain ones, compressed ones, and what stands between them."""
        inflation = Inflation(MOST)
        heads = (self.TEXT, self.PING, self.TEXT | 0x40, self.CONTINUATION, self.BINARY | 0x40, self.BINARY)
        assert [inflation.plain_head(head) for head in heads] == [
            self.TEXT,
            self.PING,
            self.BINARY,
            self.CONTINUATION,
            self.BINARY,
            self.BINARY,
        ]
        came: list[str | bytes] = ["plain", packed("é".encode()), packed(b"\xff"), b"\x00"]
        assert [inflation.opened(message) for message in came] == ["plain", "é", b"\xff", b"\x00"]

    @pytest.mark.parametrize(
        ("head", "sent", "code"),
        [
            (TEXT, packed(b"\xff"), BAD_DATA),
            (TEXT, packed("é".encode()[:1]), BAD_DATA),
            (TEXT, b"\xff\xff\xff", BAD_DATA),
            (BINARY, packed(b"x" * 1000)[:-3], BAD_DATA),
            (TEXT, packed(bytes(MOST + 1)), TOO_BIG),
            (BINARY, packed(bytes(1 << 24)), TOO_BIG),
        ],
    )
    def test_what_cannot_be_opened_has_its_code(self, head: int, sent: bytes, code: CloseCode):
        """Which ends the connection."""
        inflation = Inflation(MOST)
        inflation.plain_head(head | 0x40)
        assert inflation.opened(sent) is code


@pytest.fixture(params=[JsonWire, MsgpackWire], ids=["json", "msgpack"])
def plain(request: pytest.FixtureRequest) -> Wire:
    return request.param()


@pytest.fixture
def counts() -> StreamCounts:
    return StreamCounts()


@pytest.fixture
def wire(plain: Wire, counts: StreamCounts) -> DeflatedWire:
    return DeflatedWire(plain, counts)


def envelope(size: int) -> str:
    """Return an envelope of about this size, as dense as real ones."""
    words = random.Random(size).choices(WORDS, k=size // 7)
    return orjson.dumps({"id": "0192", "data": {"text": " ".join(words)}}).decode()


def event(wire: Wire, channel: str, entry: Entry) -> bytes:
    return wire.event(wire.event_prefix(channel), entry, wire.envelope(entry))


def value(frame: Frame) -> Any:
    return json.loads(bytes(frame.data)) if frame.opcode is Opcode.TEXT else msgpack.unpackb(bytes(frame.data))


class TestDeflatedWire:
    @pytest.mark.parametrize("size", [0, 100, 300, 2000, 32_000])
    @pytest.mark.parametrize("epoch", ["", "k3"])
    def test_event_is_the_plain_one(self, wire: DeflatedWire, plain: Wire, size: int, epoch: str):
        """Read back by another library, in any joined order."""
        entry = LiveEntry(7, "users:ada", envelope(size), 9, epoch)
        (same,) = read(event(plain, "users:ada", entry))
        assert read(event(wire, "users:ada", entry) * 2) == [same, same]

    @given(st.text(max_size=80), st.integers(0, 2**63 - 1), st.dictionaries(st.text(), st.text(max_size=500)))
    def test_any_event_is_the_plain_one(self, channel: str, position: int, data: dict[str, str]):
        """Whatever names and values are in it."""
        entry = Entry(position, "agents:1", orjson.dumps(data).decode())
        for plain in (JsonWire(), MsgpackWire()):
            assert read(event(DeflatedWire(plain, StreamCounts()), channel, entry)) == read(
                event(plain, channel, entry)
            )

    @pytest.mark.parametrize("size", [0, 10, LEAST_FRAME_BYTES, MOST_FRAME_BYTES - 100, MOST_FRAME_BYTES])
    def test_frame_is_the_plain_one(self, wire: DeflatedWire, plain: Wire, size: int):
        """Answers of any size."""
        frame = wire.reply("result", 1, result="x" * size)
        assert read(frame) == read(plain.reply("result", 1, result="x" * size))
        assert is_compressed(frame) is (LEAST_FRAME_BYTES <= size < MOST_FRAME_BYTES)

    def test_event_is_compressed_once_for_all_channels_and_all_who_come_later(
        self, wire: DeflatedWire, counts: StreamCounts
    ):
        """As long as it is kept: what differs is not compressed."""
        entry = Entry(1, "agents:1", envelope(1000))
        frames = [event(wire, channel, Entry(1, "agents:1", entry.envelope)) for channel in ("agents", "agents:1") * 50]
        assert all(map(is_compressed, frames))
        assert counts.compressions == 1

    def test_compressed_event_is_shorter(self, wire: DeflatedWire, plain: Wire):
        """Or it is not compressed."""
        for size in (200, 400, 1000, 8000):
            entry = Entry(1, "agents:1", envelope(size))
            before, after = len(event(plain, "agents", entry)), len(event(wire, "agents", entry))
            assert after < before * 0.85

    def test_short_event_is_plain(self, wire: DeflatedWire, plain: Wire, counts: StreamCounts):
        """It would save a few bytes."""
        entry = Entry(1, "agents:1", envelope(LEAST_EVENT_BYTES - 80))
        assert event(wire, "agents", entry) == event(plain, "agents", entry)
        assert counts.compressions == 0

    def test_what_would_grow_is_plain(self, plain: Wire, wire: DeflatedWire):
        """Text without any pattern."""
        noise = "".join(map(chr, random.Random(1).choices(range(0x4E00, 0x9FA5), k=600)))
        entry = Entry(1, "agents:1", orjson.dumps({"x": noise}).decode())
        bytes_of = event(wire, "agents", entry)
        assert len(bytes_of) <= len(event(plain, "agents", entry))
        assert read(bytes_of) == read(event(plain, "agents", entry))
        random_bytes = random.Random(1).randbytes(3000)
        assert len(deflated(random_bytes)) > len(random_bytes)

    def test_frames_of_clients_are_read_as_in_the_plain_form(self, wire: DeflatedWire, plain: Wire):
        """They have been inflated before."""
        message: str | bytes = '{"a":1}' if isinstance(plain, JsonWire) else b"\x81\xa1a\x01"
        assert wire.read(message) == plain.read(message) == {"a": 1}
