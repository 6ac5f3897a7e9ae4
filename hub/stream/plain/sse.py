"""One client of server-sent events (HTML Living Standard, section 9.2): its frames as messages, and its end of the connection.

event: event
data: {"type":"event","channel":"agents","offset":"1043","event":{...}}
id: 1043.5f3a9c1e
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from hub.stream.connection import Connection
from hub.stream.frames import TEXT, framed
from hub.stream.outbound import Bounds, Outbound, Transport
from hub.stream.plain.cursor import Place
from hub.stream.plain.places import PASSING, Places, Taken
from hub.stream.plain.wire import NUL

# What a client sends after its request is of no use to anybody; who sends more is cut.
MOST_LATE_BYTES = 16 * 1024


class Written:
    """The last messages that clients of the log alone, or of one room alone, have got: the next get the same. One of a node."""

    __slots__ = ("data", "messages", "place", "sole")

    def __init__(self) -> None:
        self.data: bytes | None = None
        self.sole: tuple[str, str] | None = None
        self.messages = b""
        self.place: tuple[Place | None, str] = (None, "")


class EventOutbound(Outbound):
    """Makes of frames (wire.py) what this client gets.

    `padding` is how many bytes each write is followed by, for a proxy that holds some back.
    `when_not_joined` is called where a channel could not be joined for the moment: nobody can ask again on this connection.
    """

    __slots__ = ("_padding", "_places", "_watcher", "_written", "when_not_joined")

    def __init__(self, transport: Transport, bounds: Bounds, places: Places, written: Written, padding: int) -> None:
        super().__init__(transport, bounds)
        self._places = places
        self._written = written
        self._padding = b":%b\n\n" % (b" " * padding) if padding else b""
        self._watcher: Callable[[bytes], None] | None = None
        self.when_not_joined: Callable[[], None] | None = None

    def tap(self, tap: Callable[[bytes], None] | None) -> None:
        """As Outbound.tap; the frames are shown as a socket would get them."""
        self._watcher = tap

    def write(self, data: bytes) -> bool:
        """As Outbound.write, with frames of a PlainWire; what has none goes out as it is."""
        if NUL not in data:
            return super().write(data)
        messages = self._messages(data)
        return super().write(messages + self._padding) if messages else True

    def write_control(self, frame: bytes) -> None:
        """As Outbound.write_control, with a comment."""
        super().write_control(frame + self._padding)

    def shut(self, last: bytes = b"", *, is_shown: bool = True) -> None:
        """As Outbound.shut; the end of the answer is the end of the connection, as soon as what is on its way has gone."""
        if self._is_shut:
            return
        super().shut(self._messages(last) if last else b"", is_shown=is_shown)
        self._transport.close()

    def _messages(self, data: bytes) -> bytes:
        places, written = self._places, self._written
        sole = places.sole if self._watcher is None else None
        if sole is not None and written.data is data and written.sole == sole:
            places.pass_to(*written.place)
            return written.messages
        pieces = data.split(NUL)
        taken = [places.take(payload, mark) for payload, mark in zip(pieces[:-1:2], pieces[1::2], strict=True)]
        messages = b"".join(map(self._message, taken, pieces[:-1:2])) + pieces[-1]
        if sole is not None and places.sole == sole and all(each.type == "event" and each.is_known for each in taken):
            written.data, written.sole, written.messages, written.place = data, sole, messages, places.place
        return messages

    def _message(self, taken: Taken, payload: bytes) -> bytes:
        if taken.is_repeated:
            return b""
        if self._watcher is not None:
            self._watcher(framed(payload, TEXT))
        cursor = b"" if taken.cursor is None else b"id: %b\n" % taken.cursor.encode()
        retry = b""
        if taken.type == "disconnect" and taken.frame is not None:
            retry = b"retry: %d\n" % taken.frame["after_ms"]
        elif taken.type == "subscribed" and taken.frame is not None:
            self._look_at(taken.frame)
        return b"event: %b\n%b%bdata: %b\n\n" % (taken.type.encode(), retry, cursor, payload)

    def _look_at(self, subscribed: Mapping[str, Any]) -> None:
        refused = [each["error"]["code"] for each in subscribed["channels"] if "error" in each]
        if self.when_not_joined is not None and not PASSING.isdisjoint(refused):
            # Not in the midst of what is being said.
            asyncio.get_running_loop().call_soon(self.when_not_joined)


class EventSocket(asyncio.Protocol):
    """A transport's protocol after the request: nothing more is read of it but its end. `gone` is called then."""

    __slots__ = ("_connection", "_gone", "_late_bytes", "_transport")

    def __init__(
        self, transport: asyncio.Transport, connection: Connection, gone: Callable[[Connection], None]
    ) -> None:
        self._transport = transport
        self._connection = connection
        self._gone = gone
        self._late_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Drop what the client sends: the answer to its request never ends."""
        self._late_bytes += len(data)
        if self._late_bytes > MOST_LATE_BYTES:
            self._transport.abort()

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

    def connection_lost(self, exc: Exception | None) -> None:
        """Give everything back."""
        self._connection.closed()
        self._gone(self._connection)
