"""What the openai client calls by: aiohttp, as the rest of the hub does; a streamed token costs half of its CPU by h11."""

from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager

import aiohttp
import httpx2
from yarl import URL

MOST_CONNECTIONS = 1_000


class Transport(httpx2.AsyncBaseTransport):
    """One pool of connections, made with the first request. Proxies of the environment are used."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; its answer's body comes as it is read. Raises httpx2.TransportError."""
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=MOST_CONNECTIONS)
            # httpx2 decodes.
            self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False, trust_env=True)
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
        return httpx2.Response(response.status, headers=list(response.raw_headers), stream=_Body(response))

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()


class _Body(httpx2.AsyncByteStream):
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _translated():
            async for chunk in self._response.content.iter_any():
                yield chunk

    async def aclose(self) -> None:
        """Let go of the connection: it is used again where all of the body was read, else closed."""
        self._response.close()


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
