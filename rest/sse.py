"""Answers that come part by part, as server-sent events (HTML Living Standard, section 9.2).

    event: answer.delta
    data: {"text":"Install it with pip"}

A comment every 15 s keeps proxies from giving up. What goes wrong before the first part is an ordinary refusal; after it, an event
`error` with the error object, and the stream ends. A client that reads slowly is waited for; one that has left, and a node
that stops, end the parts.
"""

from collections.abc import AsyncGenerator, Callable
from types import AsyncGeneratorType

import orjson
import structlog
from aiohttp import web

from core.clock import Clock
from core.deadline import first_of
from core.errors import HubError
from core.operations.results import Item, Streamed
from core.pressure import Calm, Part, Pressed
from rest.asked import Answer

KEEPALIVE_SECONDS = 15.0
# How often it is looked whether the client is there, and the node goes on.
LOOK_SECONDS = 1.0
# Of a node that stops, for streams that are under way: less than a drain has.
STOPPING_SECONDS = 3.0
_KEEPALIVE = b": keepalive\n\n"


class ServerSentEvents:
    """Sends streams. `ready` says whether this node takes traffic; a new stream is a join under `pressure`."""

    def __init__(self, clock: Clock, ready: Callable[[], bool], pressure: Pressed | None = None) -> None:
        self._clock = clock
        self._pressure = pressure or Calm()
        self._ready = ready

    async def send(
        self, request: web.Request, answer: Answer, streamed: Streamed, request_id: str
    ) -> web.StreamResponse:
        """Send a stream to its end. Raises what its first part raises."""
        # nginx would hold the parts back.
        response = web.StreamResponse(status=answer.status, headers={**answer.headers, "X-Accel-Buffering": "no"})
        try:
            if request.method == "GET":  # what a POST has begun goes on, and is told
                self._pressure.check(Part.JOINS)
            first = await anext(streamed.parts, None)
            await response.prepare(request)
            sending = _Sending(request, response, streamed.parts, self._clock, self._ready)
            try:
                await sending.all(first)
            except _LeftError:
                pass
            except HubError as error:
                await self._refuse(sending, error, request_id)
            except Exception:  # noqa: BLE001 - the boundary: a status has been sent, no other can follow
                structlog.get_logger().exception("stream_failed", request_id=request_id)
                await self._refuse(sending, HubError("INTERNAL_ERROR"), request_id)
        finally:
            if not _runs(streamed.parts):
                await streamed.parts.aclose()
        return response

    async def _refuse(self, sending: "_Sending", error: HubError, request_id: str) -> None:
        told = {"error": error.as_object(request_id=request_id, now=self._clock.now())}
        try:
            await sending.event(Item("error", orjson.dumps(told).decode()))
            await sending.end()
        except _LeftError:
            pass


def _runs(parts: AsyncGenerator[Item]) -> bool:
    """Tell whether somebody is in it: who cancelled that did not wait for its end, which it comes to by itself."""
    return isinstance(parts, AsyncGeneratorType) and parts.ag_running


class _LeftError(Exception):
    """The client is gone."""


class _Sending:
    """One stream on its way."""

    def __init__(
        self,
        request: web.Request,
        response: web.StreamResponse,
        parts: AsyncGenerator[Item],
        clock: Clock,
        ready: Callable[[], bool],
    ) -> None:
        self._request = request
        self._response = response
        self._parts = parts
        self._clock = clock
        self._ready = ready
        self._stopping_since: float | None = None
        self._told_at = clock.monotonic()
        self._is_writing = False

    async def all(self, first: Item | None) -> None:
        """Send the parts and the end. Raises what they raise, _LeftError, and HubError where the node stops."""
        await first_of(self._send(first), self._watch())
        await self.end()

    async def _send(self, first: Item | None) -> None:
        if first is not None:
            await self.event(first)
        async for part in self._parts:
            await self.event(part)

    async def event(self, item: Item) -> None:
        """Send one; waits while the client is slow."""
        # JSON has line breaks between values only, and these are written without: one line of data is all of it.
        await self._write(f"event: {item.name}\ndata: {item.data}\n\n".encode())

    async def end(self) -> None:
        """Send the end."""
        try:
            await self._response.write_eof()
        except ConnectionError as error:
            raise _LeftError from error

    async def _watch(self) -> None:
        """Keep the connection alive; raises _LeftError where it is not, and HubError where the node stops."""
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            if self._is_writing:  # a slow client is there as long as its connection: when that ends, so does the write
                continue
            self._look()
            if self._clock.monotonic() - self._told_at >= KEEPALIVE_SECONDS:
                await self._write(_KEEPALIVE)

    def _look(self) -> None:
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise _LeftError
        now = self._clock.monotonic()
        if self._ready():
            self._stopping_since = None
            return
        self._stopping_since = now if self._stopping_since is None else self._stopping_since
        if now - self._stopping_since >= STOPPING_SECONDS:
            raise HubError("SERVICE_UNAVAILABLE", "This node stops; ask again", retry_after=1)

    async def _write(self, data: bytes) -> None:
        self._is_writing = True
        try:
            await self._response.write(data)
        except ConnectionError as error:
            raise _LeftError from error
        self._is_writing = False
        self._told_at = self._clock.monotonic()
