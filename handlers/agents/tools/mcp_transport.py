"""How the client of MCP servers calls them: under the rules of every call out (core/outbound.py), and within bounds.

A failed call is an answer too, 502, since an exception would end the client with all else that it has under way. Streams that a
server would open to say something unasked are not opened: a server could have them opened again without end.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack

import aiohttp
import httpx2
from yarl import URL

from core.clock import Clock
from core.deadline import within
from core.outbound import Outbound, OutboundError, sent, target_of

# Of one answer, however it comes.
MOST_BYTES = 1 << 20
# What is sent when a session ends must not hold up who ends it.
_END_SECONDS = 2.0


class McpTransport(httpx2.AsyncBaseTransport):
    """Sends the client's requests. `failure` is why the last one was not answered.

    `headers` go to the scheme, host and port of `url` with each request, and to no other.
    """

    def __init__(self, outbound: Outbound, url: str, headers: Mapping[str, str]) -> None:
        self._outbound = outbound
        self._url = url
        self._headers = headers
        self.failure: str | None = None

    @property
    def clock(self) -> Clock:
        """The clock by which waiting is bounded."""
        return self._outbound.clock

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one; what it gives reads on while the answer comes, and must be closed."""
        if request.method == "GET":
            return httpx2.Response(405)
        try:
            if request.method == "DELETE":
                return await within(self.clock, _END_SECONDS, self._send(request))
            return await self._send(request)
        except OutboundError as error:
            self.failure = str(error)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            self.failure = f"{target_of(str(request.url)).origin()}: {type(error).__name__}"
        return httpx2.Response(502)

    async def _send(self, request: httpx2.Request) -> httpx2.Response:
        target = target_of(str(request.url))
        session = self._outbound.session(target, await self._outbound.judge(target), keeps=False)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(session.close)
            body, headers = await request.aread() or None, sent(self._with_own(target, request.headers))
            answer = await session.request(request.method, target, headers=headers, data=body, allow_redirects=False)
            # A body that unpacks itself cannot be bounded: one that comes all the same is read as it is, and so is no answer.
            kept = [(name, value) for name, value in answer.headers.items() if name.lower() != "content-encoding"]
            response = httpx2.Response(answer.status, headers=kept, stream=_Body(session, answer, self._failed))
            stack.pop_all()
        self.failure = None
        return response

    def _failed(self, why: str) -> None:
        # The client says of a stream of events that it has ended, and not why.
        self.failure = why

    def _with_own(self, target: URL, headers: Mapping[str, str]) -> dict[str, str]:
        is_there = bool(self._headers) and target.origin() == target_of(self._url).origin()
        return {**headers, **(self._headers if is_there else {})}


class _Body(httpx2.AsyncByteStream):
    """What comes, up to MOST_BYTES; closing it closes the connection."""

    def __init__(
        self, session: aiohttp.ClientSession, answer: aiohttp.ClientResponse, failed: Callable[[str], None]
    ) -> None:
        self._session = session
        self._answer = answer
        self._failed = failed

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        try:
            async for chunk in self._answer.content.iter_any():
                size += len(chunk)
                if size > MOST_BYTES:
                    raise self._error(f"it is over {MOST_BYTES >> 20} MiB")
                yield chunk
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._error(f"it ended early: {type(error).__name__}") from error

    def _error(self, why: str) -> httpx2.StreamError:
        self._failed(why)
        return httpx2.StreamError(why)

    async def aclose(self) -> None:
        self._answer.close()
        await self._session.close()
