"""What the openai client calls by: aiohttp, as the rest of the hub does; a streamed token costs half of its CPU by h11."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Generator
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

    `clock` is that of the ticks, and of how long a body may stand still; it is of the machine's time where none is given, as all
    other timeouts are.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._ticks = Ticks(self._clock)
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
        body = _Body(response, self._ticks, self._clock, told.get("read"))
        return httpx2.Response(response.status, headers=list(response.raw_headers), stream=body)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()


class _Body(httpx2.AsyncByteStream):
    """A body. What a tick brings comes together, but for the first of it; what came before it broke comes before the error."""

    def __init__(self, response: aiohttp.ClientResponse, ticks: Ticks, clock: Clock, still: float | None) -> None:
        self._response = response
        self._content = response.content
        self._ticks = ticks
        self._clock = clock
        # How long nothing may come.
        self._still = math.inf if still is None else still
        self._taken = 0
        self._waiting: asyncio.Future[None] | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _translated(), _lost_with_its_connection(self._response, self._wake):
            self._content.on_eof(self._wake)
            chunk = await self._more()
            self._keep_time()
            while chunk:
                yield chunk
                await self._tick()
                chunk = await self._more()

    async def _more(self) -> bytes:
        chunk = _come(self._content) or await self._content.readany()
        self._taken += len(chunk)
        return chunk

    async def _tick(self) -> None:
        """Wait for the tick that brings more, or for the end. Raises TimeoutError where the body stands still."""
        content = self._content
        if content.is_eof() or content.exception() is not None:
            return
        self._waiting = self._ticks.wait(self._has_come, self._clock.monotonic() + self._still)
        await self._waiting
        if not (self._has_come() or content.is_eof()):
            raise TimeoutError

    def _has_come(self) -> bool:
        return self._content.total_bytes > self._taken or self._content.exception() is not None

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def _keep_time(self) -> None:
        """Have aiohttp keep no time of its own: it does by a new timer for each read of the socket, a sixteenth of a token."""
        connection = self._response.connection
        if connection is not None and connection.protocol is not None:
            connection.protocol.read_timeout = None

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
def _lost_with_its_connection(response: aiohttp.ClientResponse, wake: Callable[[], None]) -> Generator[None]:
    """Have a body end whose connection does: aiohttp drops one that is garbled, and its time limit, and tells no reader."""
    content, connection = response.content, response.connection
    closed = None if connection is None or connection.protocol is None else connection.protocol.closed

    def lose(_closed: asyncio.Future[None] | None) -> None:
        if not (content.is_eof() or content.exception()):
            content.set_exception(aiohttp.ClientPayloadError("the connection was lost"))
        wake()

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
