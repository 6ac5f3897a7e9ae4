"""RFC 6455 at the hub's end: a table of what a client may and may not send, with the close code that it must give."""

import itertools
import json
import zlib
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Opcode

from hub.stream.inflation import Inflation
from hub.stream.strict import FORBIDDEN_FRAME, StrictFrames
from tests.hub.stream.node import Node
from tests.hub.stream.raw_socket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, closing, frame, raw_socket

ASK = b'{"type":"ping","id":1}'
ANSWER = {"type": "pong", "id": 1}


def bomb() -> bytes:
    """Return 16 MiB of zeros as permessage-deflate would send them (RFC 7692)."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (packer.compress(bytes(16 * 1024 * 1024)) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


@dataclass(frozen=True)
class Case:
    """Bytes of a client, and the code with which the hub ends the connection; `section` of RFC 6455."""

    name: str
    section: str
    sent: bytes
    code: int


FATAL = [
    Case("unmasked text", "5.1", frame(TEXT, ASK, is_masked=False), 1002),
    Case("unmasked ping", "5.1", frame(PING, is_masked=False), 1002),
    Case("unmasked close", "5.1", frame(CLOSE, b"\x03\xe8", is_masked=False), 1002),
    Case("good frame, then an unmasked one", "5.1", frame(PONG) + frame(TEXT, ASK, is_masked=False), 1002),
    *(Case(f"reserved bits {rsv:03b} on text", "5.2", frame(TEXT, ASK, rsv=rsv), 1002) for rsv in range(1, 8)),
    *(Case(f"reserved bits {rsv:03b} on a ping", "5.2", frame(PING, rsv=rsv), 1002) for rsv in (1, 2, 4)),
    *(Case(f"reserved opcode {op:#x}", "5.2", frame(op, b"x"), 1002) for op in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
    Case("length of 125 in 16 bits", "5.2", frame(TEXT, ASK, length=b"\x7e\x00\x7d"), 1002),
    Case("length of 65535 in 64 bits", "5.2", frame(TEXT, ASK, length=b"\x7f" + (65535).to_bytes(8, "big")), 1002),
    Case("length over 2^63", "5.2", frame(TEXT, ASK, length=b"\x7f" + b"\xff" * 8), 1002),
    Case("continuation of nothing", "5.4", frame(CONTINUATION, ASK), 1002),
    Case("continuation of nothing, not final", "5.4", frame(CONTINUATION, ASK, fin=False), 1002),
    Case("text within a message", "5.4", frame(TEXT, b"{", fin=False) + frame(TEXT, ASK), 1002),
    Case("text after an empty fragment", "5.4", frame(TEXT, fin=False) + frame(TEXT, ASK), 1002),
    Case("binary within a text message", "5.4", frame(TEXT, b"{", fin=False) + frame(BINARY, b"x", fin=False), 1002),
    Case("continuation after the end", "5.4", frame(TEXT, b"{", fin=False) + frame(CONTINUATION) * 2, 1002),
    Case("fragmented ping", "5.5", frame(PING, b"x", fin=False), 1002),
    Case("fragmented close", "5.5", frame(CLOSE, b"\x03\xe8", fin=False), 1002),
    Case("ping of 126 bytes", "5.5", frame(PING, b"x" * 126), 1002),
    Case("close of 126 bytes", "5.5", frame(CLOSE, b"\x03\xe8" + b"x" * 124), 1002),
    Case("close with half a code", "5.5.1", frame(CLOSE, b"\x03"), 1002),
    *(
        Case(f"close code {code}", "7.4", closing(code), 1002)
        for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
    ),
    Case("close reason that is no UTF-8", "5.5.1", closing(1000, b"\xff"), 1007),
    Case("text that is no UTF-8", "8.1", frame(TEXT, b'{"type":"\xff"}'), 1007),
    Case("text that ends in mid-character", "8.1", frame(TEXT, "é".encode()[:1]), 1007),
    Case("overlong UTF-8", "8.1", frame(TEXT, b"\xc0\xaf"), 1007),
    Case("surrogate in UTF-8", "8.1", frame(TEXT, b"\xed\xa0\x80"), 1007),
    Case("above U+10FFFF", "8.1", frame(TEXT, b"\xf4\x90\x80\x80"), 1007),
    Case("no UTF-8 over two fragments", "8.1", frame(TEXT, b'"\xc3', fin=False) + frame(CONTINUATION, b'\x28"'), 1007),
    Case("message over 64 KiB", "7.4.1", frame(TEXT, b"x" * 65537), 1009),
    Case("message over 128 KiB", "7.4.1", frame(TEXT, b"x" * (128 * 1024 + 1)), 1009),
    Case(
        "fragments over 128 KiB",
        "7.4.1",
        frame(TEXT, b"x" * 70000, fin=False) + frame(CONTINUATION, b"x" * 70000),
        1009,
    ),
    Case("a terabyte announced", "7.4.1", frame(TEXT, length=b"\x7f" + (1 << 40).to_bytes(8, "big")), 1009),
    Case("compressed message, never negotiated", "RFC 7692, 6", frame(TEXT, bomb(), rsv=4), 1002),
]

PASSES = [
    Case("text", "5.6", frame(TEXT, ASK), 0),
    Case("one byte a fragment", "5.4", b"", 0),
    Case(
        "empty fragments", "5.4", frame(TEXT, fin=False) + frame(CONTINUATION, ASK, fin=False) + frame(CONTINUATION), 0
    ),
    Case(
        "ping, pong between fragments",
        "5.5",
        frame(TEXT, ASK[:5], fin=False) + frame(PING, b"x") + frame(PONG) + frame(CONTINUATION, ASK[5:]),
        0,
    ),
    Case("character over two fragments", "5.6", b"", 0),
    Case("pong that nobody asked for", "5.5.3", frame(PONG, b"x") + frame(TEXT, ASK), 0),
    Case("ping of 125 bytes", "5.5", frame(PING, b"x" * 125) + frame(TEXT, ASK), 0),
    Case("message of 64 KiB", "5.2", frame(TEXT, b'{"type":"ping","id":1,"pad":"' + b"x" * (65536 - 31) + b'"}'), 0),
]


def bytes_of(case: Case) -> bytes:
    """Return what is sent; cases that are long to write are built here."""
    if case.name == "one byte a fragment":
        middle = [frame(CONTINUATION, ASK[index : index + 1], fin=False) for index in range(1, len(ASK) - 1)]
        return frame(TEXT, ASK[:1], fin=False) + b"".join(middle) + frame(CONTINUATION, ASK[-1:])
    if case.name == "character over two fragments":
        text = '{"type":"ping","pad":"é","id":1}'.encode()
        cut = text.index(b"\xc3") + 1
        return frame(TEXT, text[:cut], fin=False) + frame(CONTINUATION, text[cut:])
    return case.sent


def named(case: Case) -> str:
    return f"{case.section} {case.name}"


async def test_every_fault_ends_with_its_code(node: Node, key: str):
    """One close frame with the code of the table, then the end."""
    seen: dict[str, int] = {}
    for case in FATAL:
        async with raw_socket(node, key) as socket:
            socket.send(case.sent)
            seen[named(case)] = await socket.close_code()
    assert seen == {named(case): case.code for case in FATAL}


async def test_every_fault_byte_by_byte_ends_with_the_same_code(node: Node, key: str):
    """However TCP cuts it."""
    cases = [case for case in FATAL if len(case.sent) < 400]
    seen: dict[str, int] = {}
    for case in cases:
        async with raw_socket(node, key) as socket:
            await socket.send_slowly(case.sent)
            seen[named(case)] = await socket.close_code()
    assert seen == {named(case): case.code for case in cases}


@pytest.mark.parametrize("is_slow", [False, True], ids=["at once", "byte by byte"])
async def test_what_is_allowed_is_answered(node: Node, key: str, *, is_slow: bool):
    """Also where every byte comes alone (but the 64 KiB, which come at once)."""
    async with raw_socket(node, key) as socket:
        for case in PASSES:
            data = bytes_of(case)
            if is_slow and len(data) < 1000:
                await socket.send_slowly(data)
            else:
                socket.send(data)
            assert json.loads(await socket.receive()) == ANSWER, case.name


async def test_close_is_answered_with_its_code(node: Node, key: str):
    """RFC 6455, section 5.5.1."""
    for code in (1000, 1001, 1003, 1007, 1008, 1011, 1012, 1014, 3000, 3999, 4000, 4999):
        async with raw_socket(node, key) as socket:
            socket.send(closing(code, b"bye"))
            assert await socket.close_code() == code


async def test_close_without_code_is_answered_with_1000(node: Node, key: str):
    """RFC 6455, section 5.5.1 and 7.1.5."""
    async with raw_socket(node, key) as socket:
        socket.send(frame(CLOSE))
        assert await socket.close_code() == 1000


async def test_ping_is_answered_with_its_payload(node: Node, key: str):
    """RFC 6455, section 5.5.3; nothing after a close frame is answered."""
    async with raw_socket(node, key) as socket:
        socket.send(frame(PING, b"mark"))
        assert await socket.receive(Opcode.PONG) == b"mark"
        socket.send(closing(1000) + frame(TEXT, ASK))
        assert await socket.close_code() == 1000


async def test_frames_that_come_with_the_request_are_read(node: Node, key: str):
    """A client ought to wait for the answer (section 4.1); one that does not loses nothing, and is judged the same."""
    async with raw_socket(node, key, early=frame(TEXT, ASK)) as socket:
        assert json.loads(await socket.receive()) == ANSWER
    async with raw_socket(node, key, early=frame(TEXT, ASK, is_masked=False)) as socket:
        assert await socket.close_code() == 1002


HOSTILE_JSON = {
    "10,000 deep lists": b"[" * 10_000 + b"]" * 10_000,
    "10,000 deep objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "deep within a frame": b'{"type":"ping","x":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "NaN": b'{"type":"ping","id":NaN}',
    "Infinity": b'{"type":"ping","id":-Infinity}',
    "number of 60,000 digits": b'{"type":"ping","id":' + b"9" * 60_000 + b"}",
    "huge exponent": b'{"type":"ping","id":1e999999}',
    "id beyond 64 bits": b'{"type":"ping","id":18446744073709551616}',
    "NUL": b'{"type":"ping\x00"}',
    "byte order mark": b'\xef\xbb\xbf{"type":"ping"}',
}


async def test_hostile_json_is_refused_and_the_connection_lives(node: Node, key: str):
    """BAD_REQUEST in bounded time and memory; what is JSON and only out of range says so."""
    async with raw_socket(node, key) as socket:
        for name, text in HOSTILE_JSON.items():
            socket.send(frame(TEXT, text) + frame(TEXT, ASK))
            refused = json.loads(await socket.receive())
            wrong = "VALIDATION_ERROR" if name == "id beyond 64 bits" else "BAD_REQUEST"
            assert refused.get("error", {}).get("code") == wrong, name
            assert json.loads(await socket.receive()) == ANSWER, name


class Sink:
    """A parser that keeps what it is given."""

    def __init__(self) -> None:
        self.data = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        self.data += b"EOF"


STREAM = st.lists(
    st.builds(frame, st.sampled_from([TEXT, BINARY, PING, PONG]), st.binary(max_size=125))
    | st.builds(frame, st.sampled_from([TEXT, BINARY]), st.binary(min_size=126, max_size=300))
    | st.builds(closing, st.sampled_from([1000, 1003, 1007, 1014, 3000, 4999]), st.binary(max_size=20)),
    max_size=8,
).map(b"".join)


class TestStrictFrames:
    """The guard before the parser changes nothing but what is forbidden, however the bytes are cut."""

    def feed(self, data: bytes, cuts: list[int], inflation: Inflation | None = None) -> bytes:
        sink = Sink()
        guard = StrictFrames(sink, inflation)
        places = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
        for begin, end in itertools.pairwise(places):
            guard.feed_data(data[begin:end])
        return sink.data

    @given(STREAM, st.lists(st.integers(0, 5000), max_size=30))
    def test_good_frames_pass_unchanged(self, data: bytes, cuts: list[int]):
        assert self.feed(data, cuts) == data

    @given(STREAM, st.lists(st.integers(0, 5000), max_size=30))
    def test_they_do_so_where_compression_was_agreed(self, data: bytes, cuts: list[int]):
        """Nobody has to compress."""
        assert self.feed(data, cuts, Inflation(65536)) == data

    @given(
        st.lists(st.tuples(st.sampled_from([TEXT, BINARY]), st.lists(st.binary(max_size=200), min_size=1, max_size=4))),
        st.lists(st.integers(0, 5000), max_size=30),
    )
    def test_compressed_messages_look_like_binary_ones(self, messages: list[tuple[int, list[bytes]]], cuts: list[int]):
        """RFC 7692, section 6.1: RSV1 is on the first fragment; all else is as it was, with control frames between fragments."""

        def sent(opcode: int, parts: list[bytes], rsv: int) -> bytes:
            frames = [
                frame(CONTINUATION if index else opcode, part, fin=index == len(parts) - 1, rsv=0 if index else rsv)
                for index, part in enumerate(parts)
            ]
            return frame(PING, b"x").join(frames)

        came = self.feed(b"".join(sent(*message, 4) for message in messages), cuts, Inflation(65536))
        assert came == b"".join(sent(BINARY, parts, 0) for _, parts in messages)

    @pytest.mark.parametrize(
        "bad",
        [
            frame(PING, b"x", rsv=4),
            closing(1000)[:1].replace(b"\x88", b"\xc8") + closing(1000)[1:],
            frame(TEXT, b"x", fin=False) + frame(CONTINUATION, b"x", rsv=4),
            frame(TEXT, b"x", fin=False, rsv=4) + frame(CONTINUATION, b"x", rsv=4),
            frame(0x3, b"x", rsv=4),
        ],
        ids=["ping", "close", "continuation", "continuation of a compressed one", "reserved opcode"],
    )
    def test_rsv1_elsewhere_is_a_fault(self, bad: bytes):
        """RFC 7692, section 6."""
        assert self.feed(bad, [], Inflation(65536)).endswith(FORBIDDEN_FRAME)

    @given(STREAM, st.binary(max_size=60), st.lists(st.integers(0, 5000), max_size=30))
    def test_nothing_after_a_fault_is_passed_on(self, data: bytes, rest: bytes, cuts: list[int]):
        """What went before is unchanged, and the fault itself never reaches the parser."""
        bad = frame(TEXT, b"x", is_masked=False)
        assert self.feed(data + bad + rest, cuts) == data + FORBIDDEN_FRAME

    @given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=30))
    def test_any_bytes_give_the_same_however_they_are_cut(self, data: bytes, cuts: list[int]):
        """Cut anywhere or not at all: the same reaches the parser."""
        assert self.feed(data, cuts) == self.feed(data, [])
