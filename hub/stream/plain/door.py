"""Two more ways into the stream: `GET /v2/stream/events` and `GET /v2/stream/poll`.

Each client is a Connection among the sockets: it is admitted, counted, drained, cut and listed as they are.
"""

import asyncio
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus

from aiohttp import web

from core.auth.caller import Caller
from core.auth.seats import Seat
from core.clock import Clock
from core.deadline import ended_within
from core.errors import HubError
from core.ids import new_id
from core.operations.runner import check
from hub.stream.codes import NOT_JOINED, OVERLOADED, RESTART
from hub.stream.connection import Connection
from hub.stream.door import WRITE_HIGH_WATER_BYTES, StreamDoor
from hub.stream.live_channels import heads_of_views
from hub.stream.plain.asked import Stream, check_channels, events_asked, poll_asked
from hub.stream.plain.places import Places
from hub.stream.plain.polls import PollOutbound
from hub.stream.plain.sse import EventOutbound, EventSocket, Written
from hub.stream.plain.wire import PlainWire
from hub.stream.returns import NotNowError
from hub.stream.socket import HandedOver, take_over
from hub.stream.standing import admitted

EVENTS, POLL = "/v2/stream/events", "/v2/stream/poll"
MEDIA_TYPE = "text/event-stream"
# What a proxy must not do to a stream: keep it, change it, hold it back (nginx reads the last one).
HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
}
# How often it is looked whether who polls is there yet.
LOOK_SECONDS = 1.0
# And, once its time is over, whether it is known what was missed, which may take so long.
SHORT_LOOK_SECONDS, MOST_BEHIND_SECONDS = 0.05, 30.0
_POSITION = '{"type":"ping"}'


class PlainDoor:
    """Of one node, beside its StreamDoor, whose clients these are too."""

    def __init__(self, door: StreamDoor, clock: Clock) -> None:
        self._door = door
        self._clock = clock
        self._wire = PlainWire()
        self._written = Written()

    def add_to(self, app: web.Application) -> None:
        """Add the paths."""
        app.router.add_get(EVENTS, self.events)
        app.router.add_get(POLL, self.poll, allow_head=False)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Open a stream of events, which goes on by itself, or refuse the request."""
        seat = None
        try:
            stream, padding = events_asked(request)
            caller = await self._admit(request, stream)
            if request.method == "HEAD":
                return web.Response(headers=HEADERS, content_type=MEDIA_TYPE)
            seat = await self._door.seat_for(caller)
        except HubError as refused:
            return self._refused(request, refused)
        response = web.StreamResponse(headers={**HEADERS, "Content-Type": MEDIA_TYPE, "Connection": "close"})
        try:
            # Other rules of the application mark answers by this, such as that of pages of other origins.
            await request.app.on_response_prepare.send(request, response)
        except BaseException:
            seat.give_back()
            raise
        transport = request.transport
        if transport is None or transport.is_closing():
            seat.give_back()
            return web.Response()  # the client has left: nobody hears it
        self._open(request, transport, response, stream, caller, seat, padding)
        return HandedOver()

    async def poll(self, request: web.Request) -> web.StreamResponse:
        """Answer with what has come since the cursor, as soon as there is something."""
        try:
            stream, wait = poll_asked(request)
            caller = await self._admit(request, stream)
            check(await self._door.parts.operations.runner.count(caller))
            seat = await self._door.seat_for(caller)
        except HubError as refused:
            return self._door.render(request, refused)
        body = await self._answer(request, stream, caller, seat, wait)
        return web.Response(body=body, headers={**HEADERS, "Content-Type": "application/json"})

    async def _admit(self, request: web.Request, stream: Stream) -> Caller:
        caller = await self._door.enter(request)
        if caller is None:
            raise HubError("AUTHENTICATION_REQUIRED", "Send the Authorization header, or a ticket")
        parts = self._door.parts
        check_channels(stream, parts.settings.frames, partial(admitted, caller, parts.sources), self._wire)
        return caller

    def _places(self, stream: Stream) -> Places:
        return Places(stream.channels, stream.cursor, self._door.parts.sources.has_beginning)

    def _open(
        self,
        request: web.Request,
        transport: asyncio.Transport,
        response: web.StreamResponse,
        stream: Stream,
        caller: Caller,
        seat: Seat,
        padding: int,
    ) -> None:
        transport.set_write_buffer_limits(high=WRITE_HIGH_WATER_BYTES)
        outbound = EventOutbound(transport, self._door.bounds, self._places(stream), self._written, padding)
        connection = Connection(str(new_id()), outbound, self._wire, self._door.parts, seat)
        outbound.when_not_joined = partial(connection.end, NOT_JOINED)
        self._door.take(connection)
        take_over(request, transport, EventSocket(transport, connection, self._door.forget))
        # When it comes back where the node dies, which nobody can tell it then.
        outbound.write(_head(response) + b"retry: %d\n\n" % self._wire.return_ms())
        connection.welcome(caller)
        connection.receive(stream.subscribe)
        self._door.look_again(connection)

    async def _answer(self, request: web.Request, stream: Stream, caller: Caller, seat: Seat, wait: int) -> bytes:
        outbound = PollOutbound(self._door.bounds, self._places(stream))
        connection = Connection(str(new_id()), outbound, self._wire, self._door.parts, seat)
        self._door.take(connection)
        try:
            connection.welcome(caller)
            connection.receive(stream.subscribe)
            self._door.look_again(connection)
            await self._wait(request, connection, outbound, wait)
            connection.receive(_POSITION)
            return outbound.answer(heads_of_views(connection.channels.values()))
        finally:
            connection.closed()
            self._door.forget(connection)

    async def _wait(self, request: web.Request, connection: Connection, outbound: PollOutbound, wait: int) -> None:
        """Return when there is something to answer, the time is over, or the client is gone.

        The time is not over before it is known what was missed: who waits for less would never get on.
        """
        begin = self._clock.monotonic()
        ready, joined = (asyncio.ensure_future(each.wait()) for each in (outbound.ready, outbound.joined))
        try:
            while not ready.done():
                passed = self._clock.monotonic() - begin
                if passed >= max(wait, MOST_BEHIND_SECONDS):
                    return
                if passed >= wait and joined.done() and connection.is_up_to_date:
                    return
                look = min(wait - passed, LOOK_SECONDS) if passed < wait else SHORT_LOOK_SECONDS
                await ended_within(self._clock, look, ready, *(() if joined.done() else (joined,)))
                if request.transport is None or request.transport.is_closing():
                    return
        finally:
            ready.cancel()
            joined.cancel()

    def _refused(self, request: web.Request, refused: HubError) -> web.StreamResponse:
        """Refuse a stream. A browser's EventSource never comes back after an error: one that may is sent away by an event."""
        if refused.retry_after is None or refused.status != HTTPStatus.SERVICE_UNAVAILABLE:
            return self._door.render(request, refused)
        if MEDIA_TYPE not in request.headers.get("Accept", ""):
            return self._door.render(request, refused)
        is_busy = isinstance(refused, NotNowError)
        code, after_ms = (OVERLOADED, refused.after_ms) if is_busy else (RESTART, refused.retry_after * 1000)
        frame, _, _ = self._wire.disconnect(code, after_ms).partition(b"\0")
        body = b"retry: %d\nevent: disconnect\ndata: %b\n\n" % (after_ms, frame)
        return web.Response(body=body, headers={**HEADERS, "Connection": "close"}, content_type=MEDIA_TYPE)


def _head(response: web.StreamResponse) -> bytes:
    """Write the head of an answer that ends with its connection (RFC 9112, section 6.3, item 8), for any version of HTTP/1."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in response.headers.items())
    return f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode()
