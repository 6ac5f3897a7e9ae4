"""Real socket pairs: a hub's end with an `Outbound`, and a client's end that reads when the test says so."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from core.clock import Clock
from hub.stream.codes import SLOW_READER
from hub.stream.frames import frame_close
from hub.stream.outbound import Bounds, Outbound
from hub.stream.wires import JsonWire, Wire
from tests.harness.waiting import eventually

# One for all, as a node has one.
JSON = JsonWire()


class FlowProtocol(asyncio.Protocol):
    """Hands on what the transport says, as a Socket does."""

    def __init__(self) -> None:
        self.writing_paused = False
        self.is_lost = False
        self.outbound: Outbound | None = None

    def pause_writing(self) -> None:
        self.writing_paused = True
        if self.outbound is not None:
            self.outbound.pause()

    def resume_writing(self) -> None:
        self.writing_paused = False
        if self.outbound is not None:
            self.outbound.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        if self.outbound is not None:
            self.outbound.shut()


class Peer:
    """A member of rooms with a socket of its own."""

    def __init__(
        self, outbound: Outbound, transport: asyncio.Transport, flow: FlowProtocol, far: socket.socket, wire: Wire
    ) -> None:
        self.outbound = outbound
        self.transport = transport
        self.flow = flow
        self.far = far
        self.is_cut = False
        self.wire = wire
        self.org_id: UUID | None = None
        self.epochs: list[tuple[str, int, str]] = []
        self.on_cut: Callable[[], None] | None = None
        self._reader = ClientProtocol(parse_uri("ws://localhost/"), state=OPEN, max_size=None)
        self.frames: list[Frame] = []
        self.reads: list[int] = []

    def cut_slow(self) -> None:
        self.is_cut = True
        self.outbound.shut(frame_close(SLOW_READER))
        if self.on_cut is not None:
            self.on_cut()

    def on_room_reset(self, channel: str, epoch: str, offset: int, reason: str) -> None:
        """It stays in the room."""

    def on_new_epoch(self, epoch: str, position: int, reason: str) -> None:
        self.epochs.append((epoch, position, reason))

    def read_some(self) -> None:
        """Read what is there; `reads` notes the sizes."""
        with contextlib.suppress(BlockingIOError):
            data = self.far.recv(256 * 1024)
            self.reads.append(len(data))
            self._reader.receive_data(data)
            self.frames += [event for event in self._reader.events_received() if isinstance(event, Frame)]

    async def has(self, count: int) -> list[Any]:
        """Read until `count` frames have come and return the JSON of the text frames."""

        def enough() -> bool:
            self.read_some()
            return len(self.frames) >= count

        await eventually(enough, what=f"{count} frames")
        return [json.loads(bytes(frame.data)) for frame in self.frames if frame.opcode is Opcode.TEXT]

    def fill(self) -> None:
        """Write until the transport is full; the client reads nothing."""
        while not self.flow.writing_paused:
            self.outbound.write(b"\x8a\x00" * 4096)  # unsolicited pongs: a client ignores them


@asynccontextmanager
async def peers(
    clock: Clock,
    count: int = 1,
    *,
    max_bytes: int = 4 * 1024 * 1024,
    max_age: float = 10.0,
    wire: Wire = JSON,
) -> AsyncGenerator[list[Peer]]:
    """Open `count` socket pairs; close them at the end."""
    made = [await _open(clock, max_bytes, max_age, wire) for _ in range(count)]
    try:
        yield made
    finally:
        for peer in made:
            peer.transport.abort()
            peer.far.close()
        await eventually(lambda: all(peer.flow.is_lost for peer in made), what="transports closed")


async def _open(clock: Clock, max_bytes: int, max_age: float, wire: Wire) -> Peer:
    near, far = socket.socketpair()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    far.setblocking(False)  # noqa: FBT003 - the standard library's
    transport, flow = await asyncio.get_running_loop().create_connection(FlowProtocol, sock=near)
    transport.set_write_buffer_limits(high=64 * 1024)
    outbound = flow.outbound = Outbound(transport, Bounds(clock, max_bytes, max_age))
    return Peer(outbound, transport, flow, far, wire)
