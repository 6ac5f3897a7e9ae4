"""Clients of the stream: `StreamClient` is one socket, `StreamReader` somebody who keeps reading whatever happens to sockets.

Both know only docs/protocol.md. Every frame is recorded as it came.
"""

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import msgpack
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus

from tests.harness.frame_schemas import check_sent_by_hub, is_well_formed
from tests.harness.waiting import PATIENCE_SECONDS, cancelled, eventually, let_pass

Frame = dict[str, Any]
PACKED = "aimatrix.msgpack"
MOST_OPENING_SECONDS = 10.0
MOST_CLOSING_SECONDS = 2.0
# A refusal by which another try may help: the credential could not be looked up, or not in time; too many come.
PASSING_STATUSES = (429, 502, 503, 504)


class Logged(Protocol):
    """An event as the log has it."""

    @property
    def position(self) -> int:
        """Its place in the log."""
        ...

    @property
    def event(self) -> Mapping[str, Any]:
        """The event."""
        ...

    @property
    def event_id(self) -> str:
        """Its id."""
        ...

    def belongs_to(self, channel: str) -> bool:
        """Tell whether subscribers of `channel` get it."""
        ...


# What a cut socket, a hub that is away or a refused handshake looks like to a client that will come again.
LOST = (ConnectionClosed, InvalidHandshake, InvalidMessage, OSError, EOFError, TimeoutError)


@dataclass(frozen=True, slots=True)
class Received:
    """An event frame."""

    channel: str
    epoch: str
    offset: int
    event: Mapping[str, Any]


@dataclass(slots=True)
class Bookmark:
    """Where a reader is in a channel; without an offset it has not been told yet."""

    offset: int | None = None
    epoch: str | None = None

    def item(self, channel: str, options: Mapping[str, Any] | None = None) -> Any:
        """Return the channel's item of a subscribe frame."""
        if self.offset is None:
            return {"channel": channel, **options} if options else channel
        return {"channel": channel, "offset": str(self.offset), "epoch": self.epoch, **(options or {})}


class StreamClient:
    """One socket. `frames` holds all that came; `close_code` is set when it has ended."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.frames: list[Frame] = []
        self.close_code: int | None = None
        self.close_reason = ""
        self._ids = itertools.count(1)
        self._is_packed = socket.subprotocol == PACKED
        # Ids of frames that are not as the schemas say: the hub must find something wrong with them too.
        self._ill_formed: set[Any] = set()

    async def send(self, frame: Mapping[str, Any] | str | bytes) -> None:
        """Send one frame, in the form of the subprotocol; text and bytes as they are."""
        if isinstance(frame, str | bytes):
            await self.socket.send(frame)
            return
        if "id" in frame and not is_well_formed(frame):
            self._ill_formed.add(frame["id"])
        await self.socket.send(packed(frame) if self._is_packed else json.dumps(frame))

    async def receive(self, *, within: float = PATIENCE_SECONDS) -> Frame:
        """Return the next frame. Raises ConnectionClosed, or AssertionError after `within` seconds."""
        try:
            # Not wait_for, which up to Python 3.11 may lose a cancellation.
            async with asyncio.timeout(within):
                text = await self.socket.recv()
        except TimeoutError:
            raise AssertionError(f"no frame within {within} s; the last were {self.frames[-5:]}") from None
        except ConnectionClosed as closed:
            self.close_code = closed.rcvd.code if closed.rcvd else 1006
            self.close_reason = closed.rcvd.reason if closed.rcvd else ""
            raise
        assert isinstance(text, bytes) is self._is_packed, f"the other kind of message: {text!r}"
        frame: Frame = msgpack.unpackb(text) if isinstance(text, bytes) else json.loads(text)
        check_sent_by_hub(frame)
        if frame.get("id") in self._ill_formed:
            assert _finds_fault(frame), f"ill formed, but accepted: {frame}"
        self.frames.append(frame)
        return frame

    async def expect(self, kind: str, *, within: float = PATIENCE_SECONDS, **fields: Any) -> Frame:
        """Return the next frame of this type whose fields are these; others before it are recorded only."""
        while True:
            frame = await self.receive(within=within)
            if frame["type"] == kind and all(frame.get(name) == value for name, value in fields.items()):
                return frame

    async def ask(self, frame: Mapping[str, Any], *, within: float = PATIENCE_SECONDS) -> Frame:
        """Send a frame with an id of its own and return the reply that carries the id."""
        number = next(self._ids)
        await self.send({"id": number, **frame})
        while True:
            reply = await self.receive(within=within)
            if reply.get("id") == number:
                return reply

    async def subscribe(self, *channels: Any) -> Frame:
        """Subscribe and return the `subscribed` (or `error`) frame."""
        return await self.ask({"type": "subscribe", "channels": list(channels)})

    async def authenticate(self, credential: str) -> Frame:
        """Authenticate by first frame and return the reply."""
        return await self.ask({"type": "authenticate", "token": credential})

    async def events(self, count: int, *, within: float = PATIENCE_SECONDS) -> list[Frame]:
        """Return the next `count` event frames."""
        return [await self.expect("event", within=within) for _ in range(count)]

    async def closed(self, *, within: float = PATIENCE_SECONDS) -> int:
        """Read until the socket ends and return its close code (1006: without one)."""
        while self.close_code is None:
            with contextlib.suppress(ConnectionClosed):
                await self.receive(within=within)
        return self.close_code

    async def quiet(self) -> None:
        """Check that nothing more is on the way: what was sent before a ping has come before its pong.

        Raises AssertionError when an event comes.
        """
        before = len(self.frames)
        await self.ask({"type": "ping"})
        came = [frame for frame in self.frames[before:] if frame["type"] == "event"]
        assert not came, f"unexpected events: {came}"


def packed(frame: Mapping[str, Any]) -> bytes:
    """Return a frame as MessagePack."""
    data = msgpack.packb(frame)
    assert data is not None
    return data


def _finds_fault(reply: Frame) -> bool:
    return reply["type"] == "error" or any("error" in each for each in reply.get("channels", ()))


@asynccontextmanager
async def open_stream(url: str, key: str | None = None, **options: Any) -> AsyncGenerator[StreamClient]:
    """Open one socket, with the key in the Authorization header when there is one.

    It reads on whether the test does or not, so that closing does not wait; a slow reader is made with `max_queue=1`. Compression
    is offered with `compression="deflate"`.
    """
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    options = {"max_queue": None, "close_timeout": 2, "compression": None, **options}
    async with connect(url, additional_headers=headers, **options) as socket:
        yield StreamClient(socket)


@dataclass
class StreamReader:
    """Somebody who follows channels through every loss of a socket: remembers where it is, comes back, recovers.

    `urls` are tried in turn. `received` holds every event in the order in which it came, `resets` every reset frame;
    `start` where each channel was first joined. A socket from which nothing comes is given up after `heartbeat` seconds of
    silence and as many without a pong: few where a test makes connections fall silent, else enough for a machine that is busy.
    Use as an async context manager.
    """

    urls: list[str]
    key: str
    channels: list[str]
    received: list[Received] = field(default_factory=list[Received])
    resets: list[Frame] = field(default_factory=list[Frame])
    problems: list[str] = field(default_factory=list[str])
    start: dict[str, Bookmark] = field(default_factory=dict[str, Bookmark])
    connections: int = 0
    closes: list[int] = field(default_factory=list[int])
    heartbeat: float = 15.0
    compression: str | None = None
    on_event: Callable[[Received], None] | None = None
    # Every event frame that counts, as it came.
    on_frame: Callable[[Frame], None] | None = None
    # What stands beside a channel and its place, by channel.
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    # Of an event of its channels, whether they bring it; None: all.
    shows: Callable[[Mapping[str, Any]], bool] | None = None
    _bookmarks: dict[str, Bookmark] = field(default_factory=dict[str, Bookmark])
    _live: bool = False
    _task: asyncio.Task[None] | None = None
    _socket: ClientConnection | None = None

    async def __aenter__(self) -> Self:
        self._bookmarks = {channel: Bookmark() for channel in self.channels}
        self._task = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            await cancelled(self._task)

    async def joined(self, *, within: float = 2 * PATIENCE_SECONDS) -> None:
        """Wait until every channel is subscribed."""
        await eventually(lambda: self._check() and self._live, within=within, what="subscribed")

    async def has(self, event_ids: Iterable[str], *, within: float = 2 * PATIENCE_SECONDS) -> None:
        """Wait until all these events have come."""
        wanted = set(event_ids)

        def missing() -> bool:
            self._check()
            return wanted <= {str(each.event["id"]) for each in self.received}

        try:
            await eventually(missing, within=within, every=0.02)
        except AssertionError:
            lacking = wanted - {str(each.event["id"]) for each in self.received}
            raise AssertionError(
                f"{len(lacking)} of {len(wanted)} events have not come within {within} s, such as {sorted(lacking)[:3]}; "
                f"connections {self.connections}, closes {self.closes[-5:]}, bookmarks {self._bookmarks}"
            ) from None

    async def has_all(self, log: Sequence[Logged], *, within: float = 2 * PATIENCE_SECONDS) -> None:
        """Wait until every event of the log that belongs to the reader's channels, since it joined, has come."""
        first = {channel: mark.offset or 0 for channel, mark in self.start.items()}
        mine = [
            entry.event_id
            for entry in log
            for channel, after in first.items()
            if entry.position > after and entry.belongs_to(channel) and (self.shows is None or self.shows(entry.event))
        ]
        await self.has(mine, within=within)

    def bookmark(self, channel: str) -> Bookmark:
        """Return where the reader is."""
        return self._bookmarks[channel]

    def cut(self) -> None:
        """Drop the socket as a lost network does, from this side."""
        if self._socket is not None:
            self._socket.transport.abort()

    def _check(self) -> bool:
        if self._task is not None and self._task.done():
            self._task.result()  # raises what ended it
            raise RuntimeError("the reader has ended")
        return True

    async def _follow(self) -> None:
        urls = itertools.cycle(self.urls)
        while True:
            try:
                await self._one_socket(next(urls))
            except LOST as error:
                self._note_close(error)
                await let_pass(0.02)
            finally:
                self._live = False
                self._socket = None

    async def _one_socket(self, url: str) -> None:
        async with connect(
            url,
            additional_headers={"Authorization": f"Bearer {self.key}"},
            compression=self.compression,
            open_timeout=min(self.heartbeat * 2, MOST_OPENING_SECONDS),
            ping_interval=self.heartbeat,
            ping_timeout=self.heartbeat,
            close_timeout=min(self.heartbeat, MOST_CLOSING_SECONDS),
        ) as socket:
            self._socket = socket
            self.connections += 1
            items = [mark.item(channel, self.options.get(channel)) for channel, mark in self._bookmarks.items()]
            await socket.send(json.dumps({"id": self.connections, "type": "subscribe", "channels": items}))
            async for text in socket:
                self._take(json.loads(text))
            raise ConnectionClosed(socket.protocol.close_rcvd, socket.protocol.close_sent)

    def _take(self, frame: Frame) -> None:
        match frame["type"]:
            case "event":
                self._take_event(frame)
            case "subscribed":
                for item in frame["channels"]:
                    self._take_subscribed(item)
                self._live = all(mark.offset is not None for mark in self._bookmarks.values())
            case "reset":
                self.resets.append(frame)
                self._bookmarks[frame["channel"]] = Bookmark(int(frame["offset"]), frame["epoch"])
            case "position":
                self._take_position(frame)
            case "error":
                self.problems.append(f"error frame: {frame['error']}")
            case _:
                pass

    def _take_event(self, frame: Frame) -> None:
        mark = self._bookmarks[frame["channel"]]
        came = Received(frame["channel"], mark.epoch or "", int(frame["offset"]), frame["event"])
        if not self._live and frame["channel"].startswith("users:"):
            return  # the own room is there from the start; what came before the answer to subscribe comes again
        if not self._live:
            self.problems.append(f"event before subscribed: {frame}")
        mark.offset = came.offset
        self.received.append(came)
        if self.on_event is not None:
            self.on_event(came)
        if self.on_frame is not None:
            self.on_frame(frame)

    def _take_subscribed(self, item: Mapping[str, Any]) -> None:
        if "error" in item:
            self.problems.append(f"refused channel: {item}")
            return
        channel, offset, epoch = item["channel"], int(item["offset"]), item["epoch"]
        known = self._bookmarks[channel]
        if known.offset is None:
            self.start[channel] = Bookmark(offset, epoch)
        elif item.get("recovered") and (known.offset, known.epoch) != (offset, epoch):
            self.problems.append(f"recovered from another place than {known}: {item}")
        self._bookmarks[channel] = Bookmark(offset, epoch)

    def _take_position(self, frame: Frame) -> None:
        for mark in self._bookmarks.values():
            if mark.epoch == frame["epoch"] and mark.offset is not None:
                mark.offset = max(mark.offset, int(frame["offset"]))

    def _note_close(self, error: BaseException) -> None:
        code = error.rcvd.code if isinstance(error, ConnectionClosed) and error.rcvd else 1006
        self.closes.append(code)
        if isinstance(error, InvalidStatus) and error.response.status_code not in PASSING_STATUSES:
            raise RuntimeError(f"handshake refused with {error.response.status_code}: {error.response.body!r}")
        if 3500 <= code <= 3999 or code >= 4500:
            self.problems.append(f"closed for good with {code}: {error}")
            raise RuntimeError(f"the hub closed the stream for good: {error}")
