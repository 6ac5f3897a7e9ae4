"""A proxy between a client and a server that does to connections what networks do, and only that.

    proxy.connections[n].down     from the server to the client;   .up   from the client to the server
      .delay = 0.1                each piece arrives that much later
      .rate = 1000                bytes a second
      .hold(4096)                 only whole blocks of so many bytes arrive, until the end: a proxy that buffers
      .freeze() / .thaw()         nothing arrives, nothing is closed: a half-open connection
      .cut_after(n, how)          after n more bytes the connection ends, in the middle of a frame if it falls so
      .forbid(text)               the connection ends before a piece that has this in it, such as an upgrade
    proxy.connections[n].cut(how) now, by "rst" or "fin"
    proxy.refuse() / .accept()    the port is closed / open again; connections that exist stay
    proxy.on_connect              called with each new connection, to set its faults before the first byte

What was done stands in `proxy.log`.
"""

import asyncio
import contextlib
import os
import shutil
import socket
import struct
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from core.deadline import end_tasks
from tests.harness.engines import short_folder
from tests.harness.waiting import let_pass

How = Literal["rst", "fin"]
PIECE_BYTES = 64 * 1024
# SO_LINGER on with no time: closing sends RST and drops what was not sent.
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address, or the path of a unix socket."""

    host: str = "127.0.0.1"
    port: int = 0
    path: str = ""

    @classmethod
    def of(cls, url: str) -> "Address":
        """Return the address of an http, ws, redis or unix URL."""
        parts = urlsplit(url)
        if parts.scheme == "unix":
            return cls(path=parts.path)
        return cls(parts.hostname or "127.0.0.1", parts.port or 80)


class Direction:
    """One way through one connection, and what is wrong with it."""

    def __init__(self, name: str, connection: "ProxiedConnection") -> None:
        self.name = name
        self.delay = 0.0
        self.rate: float | None = None
        self.passed = 0
        self._forbidden: bytes | None = None
        self._connection = connection
        self._open = asyncio.Event()
        self._open.set()
        self._cut_at: int | None = None
        self._cut_how: How = "rst"
        self._block = 0

    def hold(self, block: int) -> None:
        """Pass on whole blocks of so many bytes only; what is left goes with the end."""
        self._block = block

    def freeze(self) -> None:
        """Let nothing through from now on, neither bytes nor the end."""
        self._connection.note(f"{self.name} frozen after {self.passed} bytes")
        self._open.clear()

    def thaw(self) -> None:
        """Let through again what waited."""
        self._connection.note(f"{self.name} thawed")
        self._open.set()

    def cut_after(self, count: int, how: How = "rst") -> None:
        """End the connection when `count` more bytes have passed this way."""
        self._cut_at = self.passed + count
        self._cut_how = how

    def forbid(self, text: bytes) -> None:
        """End the connection where a piece has this text in it, in whatever case; the piece does not pass."""
        self._forbidden = text.lower()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry bytes until one side ends, or the cut."""
        held = b""
        while True:
            piece = await reader.read(PIECE_BYTES)
            if self._block and piece:
                held += piece
                whole = len(held) // self._block * self._block
                piece, held = held[:whole], held[whole:]
                if not piece:
                    continue
            elif held:
                await self._send(held, writer)
                held = b""
            await self._open.wait()
            if self.delay:
                await let_pass(self.delay)
            if not piece:
                if not writer.is_closing() and writer.can_write_eof():
                    writer.write_eof()
                return
            if self._forbidden is not None and self._forbidden in piece.lower():
                self._connection.cut(self._cut_how)
                return
            if self._cut_at is not None and self.passed + len(piece) >= self._cut_at:
                await self._send(piece[: self._cut_at - self.passed], writer)
                self._connection.cut(self._cut_how)
                return
            await self._send(piece, writer)

    async def _send(self, piece: bytes, writer: asyncio.StreamWriter) -> None:
        step = len(piece) if self.rate is None else max(1, int(self.rate / 50))
        for start in range(0, len(piece), step or 1):
            part = piece[start : start + step]
            writer.write(part)
            await writer.drain()
            self.passed += len(part)
            if self.rate is not None:
                await let_pass(len(part) / self.rate)


class ProxiedConnection:
    """A client's connection and the one to the server that belongs to it."""

    def __init__(self, number: int, log: list[str], writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.up = Direction("up", self)
        self.down = Direction("down", self)
        self.alive = True
        self._log = log
        # From the start: a proxy may close before `run` has taken its first step.
        self._writers: list[asyncio.StreamWriter] = [writer]

    def note(self, what: str) -> None:
        """Write into the proxy's log."""
        self._log.append(f"{self.number}: {what}")

    def cut(self, how: How = "rst") -> None:
        """End both sides at once: by RST, which drops what is on the way, or by FIN after what was passed on."""
        if not self.alive:
            return
        self.alive = False
        self.note(f"cut by {how} (up {self.up.passed}, down {self.down.passed} bytes)")
        for writer in self._writers:
            self._end(writer, how)

    async def run(self, client: tuple[asyncio.StreamReader, asyncio.StreamWriter], server: Address) -> None:
        """Connect to the server and carry both ways until both have ended."""
        reader, writer = client
        try:
            far_reader, far_writer = await _connect(server)
            self._writers.append(far_writer)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._one_way(self.up, reader, far_writer))
                both.create_task(self._one_way(self.down, far_reader, writer))
        except OSError as error:
            self.note(f"server refused: {error}")
            self.cut("rst")
        finally:
            self.alive = False
            for each in self._writers:
                each.close()

    async def _one_way(self, way: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await way.carry(reader, writer)
        except (
            OSError,
            RuntimeError,
        ) as error:  # uvloop raises the second where a socket has died and nobody was told yet
            if self.alive:
                self.note(f"{way.name} lost: {error}")
                self.cut("rst")

    def _end(self, writer: asyncio.StreamWriter, how: How) -> None:
        if how == "fin":
            writer.close()
            return
        sock: socket.socket | None = writer.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        writer.transport.abort()


class FaultProxy:
    """Listens on a free TCP port, or on a unix socket where the server has one, and forwards to `server`."""

    def __init__(self, server: Address) -> None:
        self.server = server
        self.address = Address()
        self.log: list[str] = []
        self.connections: list[ProxiedConnection] = []
        self.on_connect: Callable[[ProxiedConnection], None] | None = None
        self._listener: asyncio.Server | None = None
        self._claim: socket.socket | None = None
        self._folder: Path | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    @property
    def alive(self) -> list[ProxiedConnection]:
        """The connections that have not ended."""
        return [connection for connection in self.connections if connection.alive]

    def url(self, scheme: str = "http") -> str:
        """Return where clients connect to."""
        if self.address.path:
            return f"unix://{self.address.path}"
        return f"{scheme}://{self.address.host}:{self.address.port}"

    async def open(self) -> None:
        """Start to listen."""
        if self.server.path and not self.address.path:
            self._folder = short_folder("hub-proxy")
            self.address = Address(path=str(self._folder / "s"))
        await self.accept()

    async def accept(self) -> None:
        """Open the port (the same one as before)."""
        if self.address.path:
            self._listener = await asyncio.start_unix_server(self._arrived, self.address.path)
            return
        if self._claim is None:
            self._claim = _claimed(self.address.host)
            self.address = Address(port=self._claim.getsockname()[1])
        self._listener = await asyncio.start_server(
            self._arrived, self.address.host, self.address.port, reuse_port=True
        )

    async def refuse(self) -> None:
        """Close the port: who connects now is refused. Connections that exist stay."""
        self.log.append("refusing")
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self.address.path:
            os.unlink(self.address.path)
        await asyncio.sleep(0)

    def cut_all(self, how: How = "rst") -> None:
        """End every connection."""
        for connection in self.alive:
            connection.cut(how)

    async def close(self) -> None:
        """End everything."""
        self._closing = True
        await self.refuse()
        self.cut_all()
        await end_tasks(tuple(self._tasks), again=0.5)
        if self._claim is not None:
            self._claim.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _arrived(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._closing:
            writer.transport.abort()
            return
        connection = ProxiedConnection(len(self.connections), self.log, writer)
        self.connections.append(connection)
        if self.on_connect is not None:
            self.on_connect(connection)
        self._keep(connection.run((reader, writer), self.server))

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class FaultProxies:
    """The proxies of one test."""

    def __init__(self) -> None:
        self._all: list[FaultProxy] = []

    async def open(self, url: str) -> FaultProxy:
        """Open a proxy before the server at `url` (http, ws, redis, unix)."""
        proxy = FaultProxy(Address.of(url))
        await proxy.open()
        self._all.append(proxy)
        return proxy

    async def close(self) -> None:
        """Close all."""
        for proxy in self._all:
            await proxy.close()


async def _connect(server: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if server.path:
        return await asyncio.open_unix_connection(server.path)
    return await asyncio.open_connection(server.host, server.port)


def _claimed(host: str) -> socket.socket:
    """Bind a free port without listening: it stays the proxy's while that refuses, and who connects meanwhile is refused."""
    claim = socket.socket()
    claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    claim.bind((host, 0))
    return claim
