"""TLS and plain on one socket: who says nothing, or half of something, keeps neither a place nor the end of the server."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme
from aiohttp import web

from hub.server import Server
from hub.tls import FIRST_BYTE_SECONDS, GIVES_WAY_SECONDS, HANDSHAKE_SECONDS, TlsListener, tls_context
from tests.harness.clock import ManualClock
from tests.harness.waiting import eventually

MOST = 3
ASK = b"GET / HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n"


class Client:
    """A connection over which a test sends what it likes."""

    def __init__(self, address: tuple[str, int], said: bytes = b"") -> None:
        self._address = address
        self._said = said

    async def __aenter__(self) -> "Client":
        self.reader, self.writer = await asyncio.open_connection(*self._address)
        self.writer.write(self._said)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    async def ends(self) -> None:
        """Return when the server has ended it."""
        await asyncio.wait_for(self._rest(), 10)

    async def is_answered(self) -> None:
        """Ask, and return when the whole answer is there."""
        self.writer.write(ASK)
        assert (await asyncio.wait_for(self._rest(), 10)).startswith(b"HTTP/1.1 200")

    @property
    def lives(self) -> bool:
        """Whether nobody has ended it yet."""
        return not self.reader.at_eof()

    async def _rest(self) -> bytes:
        with contextlib.suppress(ConnectionError):
            return await self.reader.read()
        return b""


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    """An authority, and a certificate of it in tmp_path."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    return authority


def client_hello() -> bytes:
    """Return what a client of TLS says first."""
    said = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), said, server_hostname="127.0.0.1")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return said.read()


async def _hello(_request: web.Request) -> web.Response:
    return web.Response(text="hello")


@pytest.fixture
def clock() -> ManualClock:
    """The server's time."""
    return ManualClock()


@pytest.fixture
async def server(authority: trustme.CA, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Server]:
    """A server that keeps few silent ones."""
    app = web.Application()
    app.router.add_get("/", _hello)
    context = tls_context(tmp_path / "cert.pem", tmp_path / "key.pem")
    server = Server(app, web.RequestHandler, tls=partial(TlsListener, context=context, clock=clock, most=MOST))
    yield server
    await server.close(within=0)


@pytest.fixture
async def address(server: Server) -> tuple[str, int]:
    """Where it listens."""
    return "127.0.0.1", urlsplit(await server.listen("127.0.0.1", 0)).port or 0


async def test_tls_and_plain_are_served(address: tuple[str, int], authority: trustme.CA):
    """By the first byte, however late it comes after the connection."""
    async with Client(address) as plain:
        await plain.is_answered()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    reader, writer = await asyncio.open_connection(*address, ssl=context)
    writer.write(ASK)
    assert (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.1 200")
    writer.close()


@pytest.mark.parametrize(
    ("said", "seconds"), [(b"", FIRST_BYTE_SECONDS), (client_hello(), HANDSHAKE_SECONDS)], ids=["nothing", "half"]
)
async def test_who_does_not_speak_in_time_is_let_go(
    address: tuple[str, int], clock: ManualClock, said: bytes, seconds: float
):
    """Not before, and its place in the loop goes with it: the next one has the same descriptor, and is served."""
    for _ in range(3):
        async with Client(address, said) as silent:
            if said:
                assert await asyncio.wait_for(silent.reader.read(1), 10)  # the server's part of the handshake
            await eventually(lambda: clock.sleeping, what="it is waited for")
            await clock.advance(seconds - 1)
            assert silent.lives
            await clock.advance(1)
            await silent.ends()
        async with Client(address) as next_one:
            await next_one.is_answered()
        await eventually(lambda: not clock.sleeping, what="nobody is waited for")


async def test_the_oldest_that_is_silent_gives_way(address: tuple[str, int], clock: ManualClock):
    """With all places taken the next one is served at once; who comes then waits a moment, and is not refused."""
    async with contextlib.AsyncExitStack() as stack:
        silent = [await stack.enter_async_context(Client(address)) for _ in range(MOST)]
        await eventually(lambda: clock.sleeping == MOST, what="all places are taken")
        for _ in range(MOST):
            async with Client(address) as other:
                await other.is_answered()
        assert all(each.lives for each in silent)

        silent.append(await stack.enter_async_context(Client(address)))
        # It is one too many: the oldest has some time left to speak, and that is waited for too.
        await eventually(lambda: clock.sleeping == MOST + 2, what="it is one too many")
        late = await stack.enter_async_context(Client(address))
        await clock.advance(GIVES_WAY_SECONDS)
        await silent[0].ends()
        await late.is_answered()
        assert silent[-1].lives


async def test_place_that_becomes_free_is_taken_at_once(address: tuple[str, int], clock: ManualClock):
    """Nobody has to give way for it, and the clock stands still."""
    async with contextlib.AsyncExitStack() as stack:
        silent = [await stack.enter_async_context(Client(address)) for _ in range(MOST + 1)]
        await eventually(lambda: clock.sleeping == MOST + 2, what="there is one too many")
        late = await stack.enter_async_context(Client(address))
        await silent[1].is_answered()
        await late.is_answered()
        assert silent[0].lives


async def test_stop_waits_for_nobody_that_is_silent(server: Server, address: tuple[str, int], clock: ManualClock):
    """All that have not spoken are ended at once, whatever the clock says; also those that wait for a place."""
    async with contextlib.AsyncExitStack() as stack:
        silent = [
            await stack.enter_async_context(Client(address, said)) for said in (b"", client_hello()[:40], b"", b"", b"")
        ]
        await eventually(lambda: clock.sleeping == MOST + 2, what="all places are taken")
        await asyncio.wait_for(server.close(within=0), 10)
        for each in silent:
            await each.ends()
        await eventually(lambda: not clock.sleeping, what="nobody is waited for")


async def test_who_has_connected_is_still_served_while_the_server_drains(
    server: Server, address: tuple[str, int], clock: ManualClock
):
    """Its request is under way; others find a closed door."""
    async with Client(address) as early:
        await eventually(lambda: clock.sleeping, what="it is in")
        server.shut()
        server.shut()
        with pytest.raises(ConnectionError), socket.create_connection(address):
            pass
        await early.is_answered()
