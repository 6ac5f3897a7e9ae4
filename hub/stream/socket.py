"""A WebSocket after its handshake: the transport's protocol, without a task, a timer or a request that waits.

    transport -> StrictFrames -> aiohttp's parser -> Inbox -> Connection, one message after the other
    Connection -> Outbound -> transport

aiohttp's server has read the request and handed the transport over (`take_over`); of the connection it keeps nothing.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from aiohttp import WSMsgType, web
from aiohttp.http import WebSocketError, WebSocketReader
from aiohttp.web_ws import WebSocketDataQueue  # pyright: ignore[reportPrivateImportUsage] - the parser accepts no other

from hub.stream.codes import FLOODING, CloseCode
from hub.stream.connection import Connection
from hub.stream.frames import frame_end, frame_pong
from hub.stream.inbound import FLOOD, FLOOD_SLOT_MS, Inbound, Meter
from hub.stream.inflation import Inflation
from hub.stream.strict import StrictFrames

# Above it the transport cuts, without a proper goodbye; between the frame bound and it the client is told 1009.
MESSAGE_BYTES = 128 * 1024
# What has come and waits for the messages before it: above it nothing more is read, until half of it is done.
REST_BYTES = 128 * 1024
# So much is parsed in a turn of the loop: of the smallest frames, some milliseconds' work.
PIECE_BYTES = 8 * 1024
_NORMAL, _PROTOCOL_ERROR = 1000, 1002


class Inbox(WebSocketDataQueue):
    """Takes what the parser has found; what aiohttp's own would have besides, a deque and a future, is not made."""

    __slots__ = ("fault", "messages")

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.fault: BaseException | None = None

    def feed_data(self, data: Any, size: int) -> None:
        """Take a message; `size` is its payload's."""
        self.messages.append(data)

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        """Take what was wrong with the bytes: nothing follows it."""
        self.fault = exc

    def take(self) -> Any:
        """Return the message that came first; there are never more than a piece has."""
        return self.messages.pop(0)


class Socket(asyncio.Protocol):
    """One client's socket. `gone` is called when it has ended and nothing of it is under way any more.

    There is an `inflation` where compression was agreed. `inbound` is the node's.
    """

    __slots__ = (
        "_connection",
        "_frames",
        "_gone",
        "_goodbye",
        "_has_ended",
        "_inbox",
        "_inflation",
        "_is_held",
        "_meter",
        "_rest",
        "_transport",
        "_work",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        connection: Connection,
        gone: Callable[[Connection], None],
        inflation: Inflation | None = None,
        inbound: Inbound | None = None,
    ) -> None:
        self._transport = transport
        self._connection = connection
        self._gone = gone
        self._inbox = Inbox()
        self._frames = StrictFrames(
            WebSocketReader(self._inbox, MESSAGE_BYTES, compress=False, decode_text=True), inflation
        )
        self._inflation = inflation
        self._meter = Meter(inbound or Inbound())
        # What the message before has to wait for; the next ones wait for it.
        self._work: asyncio.Task[None] | None = None
        # What is not parsed yet: a client that sends much gets its turn with all others.
        self._rest = b""
        self._has_ended = False
        self._goodbye: int | None = None
        self._is_held = False

    def data_received(self, data: bytes) -> None:
        """Take what the client has sent."""
        self._connection.heartbeat.heard_at = self._connection.now
        if self._has_ended:
            return
        self._rest = self._rest + data if self._rest else data
        if self._work is None:
            self._parse()
            if (work := self._next()) is not None:
                self._work = asyncio.get_running_loop().create_task(self._finish(work))
        if len(self._rest) > REST_BYTES and not self._is_held:
            self._is_held = True
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        """Hear that the transport is full."""
        self._connection.outbound.pause()
        self._connection.stalls()

    def resume_writing(self) -> None:
        """Hear that it has room again: the client has taken something, so it lives."""
        self._connection.heartbeat.heard_at = self._connection.now
        self._connection.outbound.resume()
        if not self._connection.outbound.is_waiting:
            self._connection.flows()

    def eof_received(self) -> None:
        """Let the transport close: a client that sends no more gets no more."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Give everything back."""
        self._has_ended = True
        self._connection.closed(self._goodbye)
        if self._work is None:
            self._gone(self._connection)
        else:
            self._work.add_done_callback(lambda _: self._gone(self._connection))

    def _parse(self) -> None:
        piece, self._rest = self._rest[:PIECE_BYTES], self._rest[PIECE_BYTES:]
        self._frames.feed_data(piece)

    def _next(self) -> Coroutine[Any, Any, None] | None:
        """Do what has come, until something has to be waited for, be it only the next turn of the loop."""
        while self._inbox.messages and not self._has_ended:
            work = self._begin(self._inbox.take())
            if work is not None:
                return work
        if self._inbox.fault is not None and not self._has_ended:
            code = self._inbox.fault.code if isinstance(self._inbox.fault, WebSocketError) else _PROTOCOL_ERROR
            self._end(code)
        return self._parse_later() if self._rest and not self._has_ended else None

    async def _parse_later(self) -> None:
        await asyncio.sleep(0)
        self._parse()
        self._hold_no_longer()

    async def _finish(self, work: Coroutine[Any, Any, None] | None) -> None:
        """Wait for one message after the other."""
        while work is not None:
            try:
                await work
            except Exception as error:  # noqa: BLE001 - a fault in one connection must not be lost with its task
                self._connection.crashed(error)
            work = self._next()
        self._work = None

    def _hold_no_longer(self) -> None:
        if self._is_held and len(self._rest) <= REST_BYTES // 2 and not self._transport.is_closing():
            self._is_held = False
            self._transport.resume_reading()

    def _begin(self, message: Any) -> Coroutine[Any, Any, None] | None:
        match message.type:
            case WSMsgType.PING:
                if not self._early(message.data):
                    self._connection.outbound.write_control(frame_pong(message.data))
            case WSMsgType.PONG:
                pass
            case WSMsgType.CLOSE:
                self._end(message.data or _NORMAL)
            case _:
                try:
                    return self._receive(message.data)
                except Exception as error:  # noqa: BLE001 - a fault in one connection must not end the loop's callback
                    self._connection.crashed(error)
        return None

    def _early(self, data: str | bytes) -> float:
        """Count a frame; return how many seconds too early it came. A flood ends the connection."""
        connection = self._connection
        wait = self._meter.take(len(data), connection.heartbeat.heard_at, connection.caller)
        if wait == FLOOD:
            connection.announce_restart(FLOOD_SLOT_MS, FLOODING)
        return wait

    def _receive(self, data: str | bytes) -> Coroutine[Any, Any, None] | None:
        wait = self._early(data)
        if self._connection.ending is not None:
            return None  # what is still on its way is not even read
        if self._inflation is None:
            return self._connection.receive(data, wait)
        opened = self._inflation.opened(data)
        if isinstance(opened, CloseCode):
            self._connection.end(opened)
            self._end(opened.code)
            return None
        work = self._connection.receive(opened, wait)
        # What came in one read may stand for a thousand times as much.
        return _after_others(work) if self._inflation.takes_long() else work

    def _end(self, code: int) -> None:
        """Answer the client's close, or end what is no WebSocket; where the hub said so first, this was its answer."""
        # RFC 6455, sections 5.5.1 and 7.1.7.
        self._has_ended = True
        self._goodbye = code
        if self._connection.ending is None:
            self._connection.outbound.shut(frame_end(code), is_shown=False)
        self._connection.outbound.close()


async def _after_others(work: Coroutine[Any, Any, None] | None) -> None:
    await asyncio.sleep(0)
    if work is not None:
        await work


def take_over(request: web.Request, transport: asyncio.Transport, protocol: asyncio.Protocol) -> bytes:
    """Make `protocol` that of the request's transport; return what a client has sent without waiting for the answer.

    To aiohttp's protocol it looks as if the connection was lost, as any transport would tell it: it forgets parser, timers and
    request. Only the transport it must not close. The handler then answers HandedOver.
    """
    early = _Early()
    request.protocol.set_parser(early)  # pyright: ignore[reportArgumentType] - it gets what came behind the head, no more
    transport.set_protocol(protocol)
    request.protocol.transport = None
    request.protocol.connection_lost(None)
    return early.data


class HandedOver(web.StreamResponse):
    """The answer to a request whose connection is not aiohttp's any more: nothing is left to send."""

    async def prepare(self, request: web.BaseRequest) -> None:
        """Send nothing."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Send nothing."""


class _Early:
    """Stands as a parser for the moment in which aiohttp hands on what a client sent without waiting for the answer."""

    def __init__(self) -> None:
        self.data = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        pass
