"""What the openai client calls by: aiohttp, as the rest of the hub does; a streamed token costs half of its CPU by h11."""

import asyncio
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager

import aiohttp
import httpx2
from yarl import URL

from core.clock import Clock, SystemClock
from handlers.models.ticks import Ticks

MOST_CONNECTIONS = 1_000
# Of a body that comes faster than it is read, about twice as much waits here, and the rest on its way.
READ_BYTES = 64 * 1024


class Transport(httpx2.AsyncBaseTransport):
    """One pool of connections, made with the first request. Proxies of the environment are used.

    `clock` is that of the ticks; as timeouts are, it is of the machine's time where none is given.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._ticks = Ticks(clock or SystemClock())
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; its answer's body comes as it is read. Raises httpx2.TransportError."""
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=MOST_CONNECTIONS)
            # httpx2 decodes.
            self._session = aiohttp.ClientSession(
                connector=connector, auto_decompress=False, trust_env=True, read_bufsize=READ_BYTES
            )
        told = request.extensions.get("timeout", {})
        with _translated():
            response = await self._session.request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=request.headers.multi_items(),
                data=await request.aread(),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=told.get("connect"), sock_read=told.get("read")),
            )
        return httpx2.Response(response.status, headers=list(response.raw_headers), stream=_Body(response, self._ticks))

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()


class _Body(httpx2.AsyncByteStream):
    """A body. What a tick brings comes together, but for the first of it; what came before it broke comes before the error."""

    def __init__(self, response: aiohttp.ClientResponse, ticks: Ticks) -> None:
        self._response = response
        self._ticks = ticks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content = self._response.content
        with _translated(), _lost_with_its_connection(self._response):
            chunk = _come(content) or await content.readany()
            while chunk:
                yield chunk
                chunk = _come(content) or await content.readany()
                if not (content.is_eof() or content.exception()):
                    await self._ticks.next()
                    chunk += _come(content)

    async def aclose(self) -> None:
        """Let go of the connection: it is used again where all of the body was read, else closed."""
        self._response.close()


def _come(content: aiohttp.StreamReader) -> bytes:
    """Return what has come and was not read."""
    broken = content.exception()
    if broken is None:
        return content.read_nowait()
    # A reader that is broken gives nothing, though all that was wanted may be in it: the end, and then a connection cut.
    content.set_exception(None)  # pyright: ignore[reportArgumentType] - it is kept as it is
    try:
        return content.read_nowait()
    finally:
        content.set_exception(broken)


@contextmanager
def _lost_with_its_connection(response: aiohttp.ClientResponse) -> Generator[None]:
    """Have a body end whose connection does: aiohttp drops one that is garbled, and its time limit, and tells no reader."""
    content, connection = response.content, response.connection
    closed = None if connection is None or connection.protocol is None else connection.protocol.closed

    def lose(_closed: asyncio.Future[None] | None) -> None:
        if not (content.is_eof() or content.exception()):
            content.set_exception(aiohttp.ClientPayloadError("the connection was lost"))

    if closed is None:  # before this, or all has come
        lose(None)
        yield
        return
    # Once for each connection, which other bodies may have after this one.
    closed.remove_done_callback(_heard)
    closed.add_done_callback(_heard)
    closed.add_done_callback(lose)
    try:
        yield
    finally:
        closed.remove_done_callback(lose)


def _heard(closed: asyncio.Future[None]) -> None:
    """Take note of how a connection ended, or asyncio would log that nobody has."""
    if not closed.cancelled():
        closed.exception()


@contextmanager
def _translated() -> Generator[None]:
    """Raise what goes wrong as httpx2 would."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        raise httpx2.ConnectTimeout("it took too long to connect") from error
    except TimeoutError as error:
        raise httpx2.ReadTimeout("nothing came") from error
    except aiohttp.ClientConnectorError as error:
        raise httpx2.ConnectError("nobody is there") from error
    except (aiohttp.ClientError, OSError) as error:
        raise httpx2.ReadError("the connection was lost") from error
