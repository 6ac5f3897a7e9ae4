"""A client that sends what bytes it likes: for what no WebSocket library would send."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from tests.harness.waiting import eventually
from tests.hub.stream.node import Node

MASK = b"\x37\xfa\x21\x3d"  # of the examples of RFC 6455, section 5.7
# A byte has been read and answered by then, on the loop that both ends share.
TURNS = 6
TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 0x1, 0x2, 0x0, 0x8, 0x9, 0xA


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    is_masked: bool = True,
    length: bytes | None = None,
) -> bytes:
    """Return one frame of a client; `length` replaces its length as it would be written."""
    if length is None:
        size = len(payload)
        if size < 126:
            length = bytes((size,))
        else:
            length = b"\x7e" + size.to_bytes(2, "big") if size < 65536 else b"\x7f" + size.to_bytes(8, "big")
    head = bytes((fin << 7 | rsv << 4 | opcode, length[0] | is_masked << 7)) + length[1:]
    if not is_masked:
        return head + payload
    return head + MASK + bytes(byte ^ MASK[index % 4] for index, byte in enumerate(payload))


def closing(code: int, reason: bytes = b"") -> bytes:
    """Return a close frame."""
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


class RawSocket:
    """An open socket; what comes is read at once, by a library's parser."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_compressed: bool) -> None:
        self.reader = reader
        self.writer = writer
        self.frames: list[Frame] = []
        self.has_ended = False
        self.is_compressed = is_compressed
        self._parser = ClientProtocol(parse_uri("ws://localhost/"), state=OPEN, max_size=None)
        if is_compressed:
            # Without context on either side; what the hub sends needs no larger window than it was allowed at least.
            self._parser.extensions = [PerMessageDeflate(True, True, 12, 15)]  # noqa: FBT003 - the library's

    @property
    def close(self) -> int | None:
        """The code of the hub's close frame, where it has come."""
        codes = [Close.parse(bytes(each.data)).code for each in self.frames if each.opcode is Opcode.CLOSE]
        return codes[0] if codes else None

    def send(self, data: bytes) -> None:
        """Write these bytes, where anybody takes them."""
        if not self.writer.is_closing():
            self.writer.write(data)

    async def send_slowly(self, data: bytes) -> None:
        """Write byte by byte, each a segment of its own, until all are sent or the hub has closed."""
        for index in range(len(data)):
            if self.close is not None or self.has_ended:
                return
            self.send(data[index : index + 1])
            for _ in range(TURNS):
                await asyncio.sleep(0)

    async def read(self) -> None:
        """Read until the end."""
        with contextlib.suppress(ConnectionError):
            while data := await self.reader.read(65536):
                self._parser.receive_data(data)
                self.frames += [event for event in self._parser.events_received() if isinstance(event, Frame)]
        self.has_ended = True

    async def receive(self, opcode: Opcode = Opcode.TEXT) -> bytes:
        """Return what the next frame of this kind holds; others before it are dropped."""

        def found() -> list[Frame]:
            return [each for each in self.frames if each.opcode is opcode]

        (first, *_) = await eventually(found, what=f"a {opcode.name} frame")
        del self.frames[: self.frames.index(first) + 1]
        return bytes(first.data)

    async def close_code(self) -> int:
        """Wait for the close frame, and the end of the connection after it; 1006 where none comes."""
        await eventually(lambda: self.has_ended or self.close is not None, what="the end")
        self.send(closing(1000))
        await eventually(lambda: self.has_ended, what="the connection's end")
        return self.close or 1006


@asynccontextmanager
async def raw_socket(node: Node, key: str, *, extra: str = "", early: bytes = b"") -> AsyncGenerator[RawSocket]:
    """Open a socket that has had its `welcome`; `early` goes out with the request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    request = (
        f"GET /v2/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\nConnection: Upgrade\r\n"
        f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{extra}\r\n"
    )
    writer.write(request.encode() + early)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    assert head.startswith(b"HTTP/1.1 101"), head
    socket = RawSocket(
        reader, writer, is_compressed=b"\r\nsec-websocket-extensions: permessage-deflate;" in head.lower()
    )
    reading = asyncio.create_task(socket.read())
    try:
        assert b'"welcome"' in await socket.receive()
        yield socket
    finally:
        writer.transport.abort()
        await reading
