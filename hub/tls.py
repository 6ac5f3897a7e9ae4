"""TLS on the hub's own address, beside plain HTTP: the first byte of a connection tells which of the two its client speaks.

So nobody needs a second port: a page that is asked for in plain is sent to https, and what runs on the same machine stays plain
(hub/https_only.py decides). Only with a certificate is anything here in use.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import structlog

from core.clock import Clock
from core.deadline import within
from core.settings import SettingsError

# The first byte of a TLS record that opens a handshake (RFC 8446, section 5.1).
_HANDSHAKE = b"\x16"
# From the connection to its first byte, and from there to the end of the handshake.
FIRST_BYTE_SECONDS = 10.0
HANDSHAKE_SECONDS = 10.0
# So many may be between connecting and speaking; the others wait in the kernel's queue.
MOST_OPENING = 1_000
PAUSE_SECONDS = 0.1


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return what a server needs of a chain and its private key, both PEM; raises SettingsError where they are none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"HUB_TLS_CERT and HUB_TLS_KEY cannot be used: {error}") from error
    return context


class TlsListener:
    """Accepts on one listening socket, and serves each connection by what its first byte says. `close` ends it."""

    def __init__(
        self,
        listening: socket.socket,
        protocol: Callable[[], asyncio.BaseProtocol],
        *,
        context: ssl.SSLContext,
        clock: Clock,
    ) -> None:
        listening.settimeout(0)
        self.sockets = (listening,)
        self._listening = listening
        self._protocol = protocol
        self._context = context
        self._clock = clock
        self._log = structlog.get_logger()
        self._room = asyncio.Semaphore(MOST_OPENING)
        self._opening: set[asyncio.Task[None]] = set()
        self._accepting = asyncio.get_running_loop().create_task(self._accept())

    def close(self) -> None:
        """Accept no more; connections that have not spoken yet are ended."""
        self._accepting.cancel()
        for task in self._opening:
            task.cancel()
        self._listening.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._room.acquire()
            try:
                client, _ = await loop.sock_accept(self._listening)
            except OSError as error:
                # No descriptor is free, or the client has gone already: later there may be one.
                self._room.release()
                self._log.warning("cannot_accept", error=str(error))
                await self._clock.sleep(PAUSE_SECONDS)
                continue
            task = loop.create_task(self._open(client))
            self._opening.add(task)
            task.add_done_callback(self._opened)

    def _opened(self, task: "asyncio.Task[None]") -> None:
        self._opening.discard(task)
        self._room.release()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("connection_failed", exc_info=error)

    async def _open(self, client: socket.socket) -> None:
        client.settimeout(0)
        taken = False
        try:
            first = await within(self._clock, FIRST_BYTE_SECONDS, _first_byte(client))
            if first:
                taken = True
                await self._serve(client, is_tls=first == _HANDSHAKE)
        except (OSError, TimeoutError):
            pass  # it said nothing, or no handshake came of it: both are the client's affair
        finally:
            if not taken:
                client.close()

    async def _serve(self, client: socket.socket, *, is_tls: bool) -> None:
        with contextlib.suppress(OSError):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        loop = asyncio.get_running_loop()
        if is_tls:
            await loop.connect_accepted_socket(
                self._protocol, client, ssl=self._context, ssl_handshake_timeout=HANDSHAKE_SECONDS
            )
        else:
            await loop.connect_accepted_socket(self._protocol, client)


async def _first_byte(client: socket.socket) -> bytes:
    """Return the first byte that a client sends, and leave it there; empty where it has gone."""
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()
    loop.add_reader(client, _mark, readable)
    try:
        await readable
    finally:
        loop.remove_reader(client)
    return client.recv(1, socket.MSG_PEEK)


def _mark(readable: "asyncio.Future[None]") -> None:
    if not readable.done():
        readable.set_result(None)
