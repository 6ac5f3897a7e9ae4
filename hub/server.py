"""The HTTP server of a node: one application for every door, listening, and stopped in the order of a drain."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from aiohttp import web

from core.clock import Clock
from hub.tls import TlsListener
from hub.workers.addresses import BACKLOG, listen_for, url_of

# A client that neither finishes a request nor sends another one is let go after this long.
KEEPALIVE_SECONDS = 75.0
LOOK_SECONDS = 0.02
# What waits for a client that takes nothing for so long is dropped with its connection: answers may be large, and nothing else ends
# such a client. Any progress starts it anew.
UNREAD_SECONDS = 60.0
# To aiohttp no time is all the time that there is.
SHORTEST_SECONDS = 0.001
# What has come while the server was closing.
LATE_SECONDS = 1.0


class Server:
    """One listening socket and the application behind it.

    `protocol` makes the protocol of a connection from aiohttp's server and its options. `tls` makes what accepts on a
    socket that takes TLS and plain.
    """

    def __init__(
        self,
        app: web.Application,
        protocol: Callable[..., asyncio.BaseProtocol],
        *,
        unread_seconds: float = UNREAD_SECONDS,
        tls: Callable[..., TlsListener] | None = None,
    ) -> None:
        self._protocol = protocol
        self._unread_seconds = unread_seconds
        self._runner = web.AppRunner(
            app,
            handle_signals=False,
            access_log=None,
            keepalive_timeout=KEEPALIVE_SECONDS,
            shutdown_timeout=LATE_SECONDS,
        )
        self._tls = tls
        self._servers: Sequence[asyncio.Server | TlsListener] = ()

    async def listen(self, host: str, port: int, sockets: Sequence[socket.socket] = ()) -> str:
        """Listen, and return the address as a URL; port 0 takes a free one. Raises OSError where it cannot.

        Given `sockets` listen already, and are somebody else's too; then host and port mean nothing.
        """
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        options: dict[str, Any] = {"loop": loop, "access_log": None, "keepalive_timeout": KEEPALIVE_SECONDS}
        serve = partial(self._protocol, self._runner.server, **options)
        servers: Sequence[asyncio.Server | TlsListener]
        if self._tls is not None:
            sockets = sockets or listen_for(1, host, port)[0]
            servers = [self._tls(each, serve) for each in sockets]
        elif sockets:
            servers = [await loop.create_server(serve, sock=each, backlog=BACKLOG) for each in sockets]
        else:
            servers = [await loop.create_server(serve, host, port, backlog=BACKLOG)]
        self._servers = servers
        for listening in (each for server in servers for each in server.sockets):
            _give_up_unread(listening, self._unread_seconds)
        return url_of(servers[0].sockets[0], is_tls=self._tls is not None)

    def shut(self) -> None:
        """Accept no more connections; those that are open go on."""
        for server in self._servers:
            server.close()

    async def empty(self, clock: Clock, seconds: float) -> None:
        """Let clients of HTTP connections make one more request; return when none is left, or after `seconds`.

        While others accept on the same address, this is how nobody meets a closed door: a client's next request may be under way
        while its connection ends. Streams are connections of their own.
        """
        until = clock.monotonic() + seconds
        server = self._runner.server
        while server is not None and server.connections and clock.monotonic() < until:
            await clock.sleep(LOOK_SECONDS)

    async def close(self, *, within: float) -> None:
        """Finish the requests under way, at most `within` seconds, and close every connection."""
        self.shut()
        for listener in self._servers:
            if isinstance(listener, TlsListener):
                await listener.end()
        server = self._runner.server
        if server is not None:
            server.pre_shutdown()
            await server.shutdown(max(within, SHORTEST_SECONDS))
        await self._runner.cleanup()


def _give_up_unread(listening: socket.socket, seconds: float) -> None:
    """Let the kernel end connections of clients that take nothing; those that are accepted inherit it. Only Linux has it."""
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is not None:
        listening.setsockopt(socket.IPPROTO_TCP, option, round(seconds * 1000))
