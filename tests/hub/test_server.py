"""The listening socket: what holds for every connection, whichever door it knocks at."""

import asyncio
import socket
from collections.abc import AsyncIterator
from functools import partial
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from hub.server import Server
from tests.harness.waiting import eventually

LARGE = b"x" * (16 * 1024 * 1024)


class Counted(web.RequestHandler):
    """A connection that is counted while it is open."""

    __slots__ = ("_opened",)

    def __init__(self, opened: set["Counted"], server: web.Server, **options: object) -> None:
        super().__init__(server, **options)  # pyright: ignore[reportArgumentType] - aiohttp's own options, passed through
        self._opened = opened

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._opened.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._opened.discard(self)
        super().connection_lost(exc)


async def _large(_request: web.Request) -> web.Response:
    return web.Response(body=LARGE)


@pytest.fixture
async def served() -> AsyncIterator[tuple[str, set[Counted]]]:
    """A server with little patience, its address, and the connections that are open."""
    app = web.Application()
    app.router.add_get("/", _large)
    opened: set[Counted] = set()
    server = Server(app, partial(Counted, opened), unread_seconds=1.0)
    yield await server.listen("127.0.0.1", 0), opened
    await server.close(within=1.0)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the kernel does not do it")
async def test_client_that_takes_nothing_of_a_large_answer_is_let_go(served: tuple[str, set[Counted]]):
    """Otherwise the answer stays in memory for as long as the client likes."""
    url, opened = served
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(0)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, ("127.0.0.1", urlsplit(url).port))
        await loop.sock_sendall(client, b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n")
        await eventually(lambda: opened, within=5.0, what="it is connected")
        await eventually(lambda: not opened, within=15.0, what="it is let go")


async def _for_ever(_request: web.Request) -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError("it is cancelled")


@pytest.mark.parametrize("asked", [b"", b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n"])
@pytest.mark.parametrize("seconds", [0.0, 0.05])
async def test_close_takes_its_time_and_no_more(asked: bytes, seconds: float):
    """Whatever its clients do: one that has just come and says nothing, one whose answer takes for ever.

    To aiohttp, no time to finish is as much as it takes; and a connection that is made in the turn of the close waits for its first
    request, which a network that has fallen silent never brings.
    """
    for turns in range(12):
        app = web.Application()
        app.router.add_get("/", _for_ever)
        server = Server(app, web.RequestHandler)
        url = urlsplit(await server.listen("127.0.0.1", 0))
        with socket.create_connection(("127.0.0.1", url.port or 0)) as client:
            client.sendall(asked)
            for _ in range(turns):
                await asyncio.sleep(0)
            await asyncio.wait_for(server.close(within=seconds), 10)
