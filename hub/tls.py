"""TLS on the hub's own address, beside plain HTTP: the first byte of a connection tells which of the two its client speaks.

So nobody needs a second port: a page that is asked for in plain is sent to https, and what runs on the same machine stays plain
(hub/https_only.py decides). Only with a certificate is anything here in use.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from core.clock import Clock
from core.deadline import end_tasks, ended_within, within
from core.settings import SettingsError

# The first byte of a TLS record that opens a handshake (RFC 8446, section 5.1).
_HANDSHAKE = b"\x16"
# From the connection to its first byte, and from there to the end of the handshake.
FIRST_BYTE_SECONDS = 10.0
HANDSHAKE_SECONDS = 10.0
# For the client's part of a connection's end (RFC 8446, section 6.1), which silent ones never send.
GOODBYE_SECONDS = 5.0
# So many may be between connecting and speaking. Where there are more, the oldest gives way, once it has had a moment to speak.
MOST_OPENING = 1_000
GIVES_WAY_SECONDS = 1.0
PAUSE_SECONDS = 0.1
# The loop is everybody's: in one turn so many come in.
_AT_ONCE = 64


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


@dataclass(slots=True)
class _Opening:
    """A connection that has not spoken yet; once it is `taken`, a transport closes it."""

    client: socket.socket
    since: float
    taken: bool = False


class TlsListener:
    """Accepts on one listening socket, and serves each connection by what its first byte says.

    `close` accepts no more, `end` also ends those that have not spoken yet. At most `most` of these are kept, and one that has just
    come: whoever connects and says nothing keeps nobody out.
    """

    def __init__(
        self,
        listening: socket.socket,
        protocol: Callable[[], asyncio.BaseProtocol],
        *,
        context: ssl.SSLContext,
        clock: Clock,
        most: int = MOST_OPENING,
    ) -> None:
        listening.settimeout(0)
        self.sockets = (listening,)
        self._listening = listening
        self._protocol = protocol
        self._context = context
        self._clock = clock
        self._most = most
        self._log = structlog.get_logger()
        self._loop = asyncio.get_running_loop()
        # Oldest first.
        self._openings: dict[asyncio.Task[None], _Opening] = {}
        self._one_ended: asyncio.Future[None] | None = None
        self._resting: asyncio.Task[None] | None = None
        self._loop.add_reader(listening, self._accept)

    def close(self) -> None:
        """Accept no more; connections that have not spoken yet go on."""
        if self._resting is not None:
            self._resting.cancel()
        if self._is_open:
            # In this order, here and below: a closed socket's number may be another's in the next moment.
            self._loop.remove_reader(self._listening)
            self._listening.close()

    async def end(self) -> None:
        """Accept no more, and end the connections that have not spoken yet, at once."""
        self.close()
        await end_tasks([*self._openings, *([] if self._resting is None else [self._resting])])

    @property
    def _is_open(self) -> bool:
        return self._listening.fileno() >= 0

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                client, _ = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return  # the next one is told of
            except OSError as error:
                # No descriptor is free: later there may be one.
                self._log.warning("cannot_accept", error=str(error))
                self._rest(self._pause)
                return
            self._begin(client)
            if len(self._openings) > self._most:
                self._rest(self._make_room)
                return

    def _begin(self, client: socket.socket) -> None:
        client.settimeout(0)
        opening = _Opening(client, self._clock.monotonic())
        task = self._loop.create_task(self._open(opening))
        self._openings[task] = opening
        task.add_done_callback(self._opened)

    def _rest(self, until: Callable[[], Awaitable[None]]) -> None:
        """Accept nobody until `until` returns; they wait in the kernel's queue."""

        async def rest() -> None:
            await until()
            if self._is_open:
                self._loop.add_reader(self._listening, self._accept)

        self._loop.remove_reader(self._listening)
        self._resting = self._loop.create_task(rest())

    async def _pause(self) -> None:
        await self._clock.sleep(PAUSE_SECONDS)

    async def _make_room(self) -> None:
        while len(self._openings) > self._most:
            task, oldest = next(iter(self._openings.items()))
            patience = oldest.since + GIVES_WAY_SECONDS - self._clock.monotonic()
            if patience > 0:
                self._one_ended = self._loop.create_future()
                await ended_within(self._clock, patience, self._one_ended)
            else:
                await end_tasks([task])

    def _opened(self, task: "asyncio.Task[None]") -> None:
        opening = self._openings.pop(task)
        if not opening.taken:
            opening.client.close()
        if self._one_ended is not None and not self._one_ended.done():
            self._one_ended.set_result(None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("connection_failed", exc_info=error)

    async def _open(self, opening: _Opening) -> None:
        # It says nothing, or no handshake comes of it: both are the client's affair.
        with contextlib.suppress(OSError, TimeoutError):
            first = await _first_byte(opening.client, self._clock)
            if first:
                opening.taken = True
                await self._serve(opening.client, is_tls=first == _HANDSHAKE)

    async def _serve(self, client: socket.socket, *, is_tls: bool) -> None:
        with contextlib.suppress(OSError):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not is_tls:
            await self._loop.connect_accepted_socket(self._protocol, client)
            return
        shaken = self._loop.connect_accepted_socket(
            self._protocol,
            client,
            ssl=self._context,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=GOODBYE_SECONDS,
        )
        await within(self._clock, HANDSHAKE_SECONDS, shaken)


async def _first_byte(client: socket.socket, clock: Clock) -> bytes:
    """Return the first byte that a client sends, and leave it there; empty where it has gone. Raises TimeoutError, OSError."""
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()
    loop.add_reader(client, _mark, readable)
    try:
        if not await ended_within(clock, FIRST_BYTE_SECONDS, readable):
            raise TimeoutError
    finally:
        loop.remove_reader(client)
    return client.recv(1, socket.MSG_PEEK)


def _mark(readable: "asyncio.Future[None]") -> None:
    if not readable.done():
        readable.set_result(None)
