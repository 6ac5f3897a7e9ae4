"""Clients of the stream over plain HTTP: of server-sent events, as EventSource does it, and by long polling.

Both know only docs/sse.md: they give back the last cursor that came whole, and nothing else.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import urlencode

import aiohttp

from tests.harness.checker import is_log
from tests.harness.frame_schemas import check_sent_by_hub
from tests.harness.stream_client import PASSING_STATUSES, Frame, StreamReader
from tests.harness.waiting import PATIENCE_SECONDS
from tests.harness.watcher import Watcher

POLL_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Message:
    """An event of the stream, as EventSource dispatches it."""

    type: str
    data: str
    last_event_id: str


@dataclass
class EventParser:
    """HTML Living Standard, section 9.2.6, for streams that end their lines with LF. `comments` counts them."""

    last_event_id: str = ""
    retry_ms: int | None = None
    comments: int = 0
    _rest: bytes = b""
    _type: str = ""
    _data: list[str] = field(default_factory=list[str])
    _id: str = ""

    def feed(self, data: bytes) -> list[Message]:
        """Return the messages that are whole with `data`."""
        assert b"\r" not in data
        *lines, self._rest = (self._rest + data).split(b"\n")
        found: list[Message] = []
        for line in lines:
            if not line:
                found += self._dispatch()
            elif line.startswith(b":"):
                self.comments += 1
            else:
                self._take(*line.decode().partition(": ")[::2])
        return found

    def _take(self, name: str, value: str) -> None:
        match name:
            case "event":
                self._type = value
            case "data":
                self._data.append(value)
            case "id":
                self._id = value
            case "retry":
                self.retry_ms = int(value)
            case _:
                raise AssertionError(f"the hub sends no {name}")

    def _dispatch(self) -> list[Message]:
        self.last_event_id = self._id
        data, type, self._data, self._type = self._data, self._type, [], ""
        return [Message(type, "\n".join(data), self.last_event_id)] if data else []


class EventClient:
    """One stream of events that is open. `frames` holds all that came, `cursor` the last id."""

    def __init__(self, response: aiohttp.ClientResponse, cursor: str = "") -> None:
        self.response = response
        self.frames: list[Frame] = []
        self.cursor = cursor
        self.parser = EventParser(_id=cursor, last_event_id=cursor)
        self.has_ended = False
        self._waiting: list[Message] = []

    async def receive(self, *, within: float = PATIENCE_SECONDS) -> Frame:
        """Return the next frame. Raises EOFError at the end, AssertionError after `within` seconds."""
        while not self._waiting:
            try:
                async with asyncio.timeout(within):
                    data = await self.response.content.readany()
            except TimeoutError:
                raise AssertionError(f"no frame within {within} s; the last were {self.frames[-5:]}") from None
            if not data:
                self.has_ended = True
                raise EOFError
            self._waiting += self.parser.feed(data)
        message = self._waiting.pop(0)
        frame: Frame = json.loads(message.data)
        check_sent_by_hub(frame)
        assert message.type == frame["type"]
        self.cursor = message.last_event_id
        self.frames.append(frame)
        return frame

    async def expect(self, kind: str, *, within: float = PATIENCE_SECONDS, **fields: Any) -> Frame:
        """Return the next frame of this type whose fields are these; others before it are recorded only."""
        while True:
            frame = await self.receive(within=within)
            if frame["type"] == kind and all(frame.get(name) == value for name, value in fields.items()):
                return frame

    async def events(self, count: int) -> list[Frame]:
        """Return the next `count` event frames."""
        return [await self.expect("event") for _ in range(count)]

    async def ended(self) -> Frame | None:
        """Read to the end; return the `disconnect` that came before it."""
        try:
            while True:
                await self.receive()
        except (EOFError, aiohttp.ClientPayloadError, ConnectionError):
            return next((each for each in reversed(self.frames) if each["type"] == "disconnect"), None)


def asked(channels: Sequence[str | Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return the query that names channels, and items of a subscribe frame."""
    names = ",".join(each for each in channels if isinstance(each, str))
    items = [("subscribe", json.dumps(each)) for each in channels if not isinstance(each, str)]
    return [*([("channels", names)] if names else []), *items]


@asynccontextmanager
async def open_events(
    url: str,
    key: str | None,
    channels: Sequence[str | Mapping[str, Any]],
    cursor: str = "",
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **query: Any,
) -> AsyncGenerator[EventClient]:
    """Open a stream at `url`, the node's. What is asked besides stands in `query`."""
    sent = {"Accept": "text/event-stream", **(headers or {})}
    if key is not None:
        sent["Authorization"] = f"Bearer {key}"
    if cursor:
        sent["Last-Event-ID"] = cursor
    named = urlencode([*asked(channels), *query.items()])
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=PATIENCE_SECONDS)
    async with (
        aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
        session.get(f"{url}/v2/stream/events?{named}", headers=sent) as response,
    ):
        assert response.status == status, (response.status, await response.text())
        yield EventClient(response, cursor)


async def poll(
    url: str, key: str | None, channels: Sequence[str | Mapping[str, Any]], cursor: str = "", **query: Any
) -> dict[str, Any]:
    """Poll once; returns the answer's body, with its `status`, and its `headers`."""
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    named = urlencode([*asked(channels), *({"cursor": cursor} if cursor else {}).items(), *query.items()])
    timeout = aiohttp.ClientTimeout(total=2 * PATIENCE_SECONDS)
    async with (
        aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(force_close=True)) as session,
        session.get(f"{url}/v2/stream/poll?{named}", headers=headers) as response,
    ):
        body = await response.json()
        if response.status == 200:
            assert set(body) == {"frames", "cursor"}, body
            for frame in body["frames"]:
                check_sent_by_hub(frame)
        return {**body, "status": response.status, "headers": response.headers}


@dataclass
class ByCursor(StreamReader):
    """A StreamReader that keeps one cursor; `urls` are of the stream, as for sockets."""

    cursor: str = ""

    def _take_event(self, frame: Frame) -> None:
        super()._take_event(frame)
        if is_log(frame["channel"]):
            # The cursor counts for all channels of the log.
            told = self._bookmarks[frame["channel"]]
            for channel, mark in self._bookmarks.items():
                if is_log(channel) and mark.offset is not None and mark.epoch == told.epoch:
                    mark.offset = max(mark.offset, told.offset or 0)

    async def _one_socket(self, url: str) -> None:
        try:
            await self._request(url.replace("ws", "http", 1))
        except (aiohttp.ClientError, UnicodeDecodeError) as error:
            raise ConnectionError(str(error)) from error

    async def _request(self, url: str) -> None:
        raise NotImplementedError

    def _asked(self) -> list[tuple[str, str]]:
        options = ((each, self.options.get(each)) for each in self.channels)
        return asked([{"channel": each, **more} if more else each for each, more in options])


@dataclass
class EventReader(ByCursor):
    """Somebody who follows channels by server-sent events. A stream that is silent for `silence` seconds is given up."""

    silence: float = 30.0

    async def _request(self, url: str) -> None:
        headers = {"Authorization": f"Bearer {self.key}", "Accept": "text/event-stream"}
        if self.cursor:
            headers["Last-Event-ID"] = self.cursor
        query = urlencode(self._asked())
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=self.silence)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{url}/events?{query}", headers=headers) as response,
        ):
            if response.status != 200:
                raise_unless_passing(response.status, await response.text())
            self.connections += 1
            await self._follow_events(response)

    async def _follow_events(self, response: aiohttp.ClientResponse) -> None:
        parser = EventParser(_id=self.cursor)
        while data := await response.content.readany():
            for message in parser.feed(data):
                self.cursor = message.last_event_id
                frame = json.loads(message.data)
                self._take(frame)
                if frame["type"] == "disconnect":
                    self.closes.append(frame["code"])
        raise ConnectionError("the stream has ended")


@dataclass
class Poller(ByCursor):
    """Somebody who follows channels by long polling."""

    wait: int = POLL_SECONDS

    async def _request(self, url: str) -> None:
        self.connections = 1
        self._live = bool(self.cursor)
        timeout = aiohttp.ClientTimeout(total=self.wait + 5, sock_connect=5)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                await self._one_poll(session, url)

    async def _one_poll(self, session: aiohttp.ClientSession, url: str) -> None:
        query = [*self._asked(), ("wait", str(self.wait))]
        if self.cursor:
            query.append(("cursor", self.cursor))
        headers = {"Authorization": f"Bearer {self.key}"}
        async with session.get(f"{url}/poll?{urlencode(query)}", headers=headers) as response:
            if response.status != 200:
                raise_unless_passing(response.status, await response.text())
            answer = await response.json()
        self.cursor = answer["cursor"]
        for frame in answer["frames"]:
            self._take(frame)
            if frame["type"] == "disconnect":
                self.closes.append(frame["code"])
                raise ConnectionError("sent away")


@dataclass
class EventWatcher(EventReader, Watcher):
    """A Watcher by server-sent events."""

    way: ClassVar[str] = "server-sent events"


@dataclass
class PollWatcher(Poller, Watcher):
    """A Watcher by long polling; a channel that was refused for the moment is asked for again by the next poll."""

    way: ClassVar[str] = "long polls"

    def _take_subscribed(self, item: Mapping[str, Any]) -> None:
        # Others of the same poll go on as they were, and are named again.
        is_known = item["channel"] in self._joined_on and item.get("recovered", True)
        if is_known and "error" in item:
            self.refused += 1
        elif not is_known:
            super()._take_subscribed(item)


def raise_unless_passing(status: int, body: str) -> None:
    """Raise ConnectionError where another try may help, else what ends a reader."""
    if status in PASSING_STATUSES:
        raise ConnectionError(f"{status}: {body}")
    raise RuntimeError(f"refused with {status}: {body}")
