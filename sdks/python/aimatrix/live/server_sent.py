"""A link by HTTP alone: server-sent events for what comes, requests beside them for what is asked. Wire form: docs/sse.md.

What is subscribed stands in the URL, so another channel means another answer; the cursor goes on where the former ended.
"""

import asyncio
import json
import ssl
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import suppress
from functools import cache
from typing import Any
from urllib.parse import quote

import httpx2

from aimatrix.live.clock import Clock
from aimatrix.live.events import Frame
from aimatrix.live.followed import NEEDS_SOCKET, FollowedChannels
from aimatrix.live.links import LinkClosed, NotOpened, seconds_of
from aimatrix.live.rules import LOST

# Channels that are subscribed one after the other share an answer.
_GATHER_SECONDS = 0.02
_ANSWER_SECONDS = 20.0
# The hub says something every 25 s at least.
_SILENCE_MS = 40_000
_MOST_WAITING = 64
_OF_CHANNELS = (403, 404, 422)
_BEGINNINGS = frozenset({"since", "after_event"})
# A poll said nothing of its channel: the hub was stopping, or out of reach.
_NO_PLACE: Mapping[str, Any] = {"code": "SERVICE_UNAVAILABLE", "message": "Where it begins is not known for now"}
_LOST = (httpx2.HTTPError, OSError)
# For addresses without TLS: reading the system's authorities takes a tenth of a second of everybody's.
_NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class EventsLink:
    """Server-sent events, made to look like a socket."""

    def __init__(self, client: httpx2.AsyncClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._channels = FollowedChannels()
        # Channels of which it is being found out where they begin, with the id of their subscribe.
        self._beginning: dict[str, int] = {}
        self._incoming: asyncio.Queue[Frame | LinkClosed] = asyncio.Queue()
        self._has_room = asyncio.Event()
        self._token = ""
        self._code = LOST
        self._reading: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def receive(self) -> Frame:
        """Return the next frame."""
        got = await self._incoming.get()
        if self._incoming.qsize() < _MOST_WAITING:
            self._has_room.set()
        if isinstance(got, LinkClosed):
            raise got
        return got

    async def send(self, frame: Frame) -> None:
        """Do what a frame asks for."""
        match frame["type"]:
            case "authenticate":
                self._token = frame["token"]
                self._spawn(self._authenticate(frame["id"]))
            case "subscribe":
                self._subscribe(frame)
            case "unsubscribe":
                for channel in frame["channels"]:
                    self._beginning.pop(channel, None)
                    self._channels.remove(channel)
                self._read_again()
            case "ping":
                self._read_again()  # the answer of a new request is a sign of life
            case _:
                self._spawn(self._request(frame))

    async def close(self, code: int) -> None:
        """End it."""
        del code
        self.abort()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._client.aclose()

    def abort(self) -> None:
        """End what is under way."""
        for task in self._tasks:
            task.cancel()

    def _tell(self, frame: Frame | LinkClosed) -> None:
        self._incoming.put_nowait(frame)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name="aimatrix.live events")
        self._tasks.add(task)
        task.add_done_callback(self._reap)
        return task

    def _reap(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # What came is no stream of a hub's.
            self._tell(LinkClosed(LOST, f"{type(error).__name__}: {error}"))

    # What comes.

    def _read_again(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        self._reading = self._spawn(self._read())

    async def _read(self) -> None:
        await self._clock.sleep(_GATHER_SECONDS)
        if not self._channels:
            self._tell({"type": "comment"})
            return
        try:
            end = await self._one_answer()
        except _LOST as error:
            end = LinkClosed(self._code, str(error) or type(error).__name__)
        if end is not None:
            self._tell(end)

    async def _one_answer(self) -> LinkClosed | None:
        cursor = self._channels.cursor()
        headers = {**self._headers(), "Accept": "text/event-stream", **({"Last-Event-ID": cursor} if cursor else {})}
        query = tuple(self._channels.query())
        async with self._client.stream("GET", "/v2/stream/events", params=query, headers=headers) as answer:
            if answer.status_code == 200:
                await self._take(answer)
                return LinkClosed(self._code, "the stream has ended")
            await answer.aread()
            return self._refused(answer)

    async def _take(self, answer: httpx2.Response) -> None:
        """Read messages (HTML Living Standard, section 9.2.6), as the hub writes them: one line of data each."""
        id, data = "", ""
        async for line in answer.aiter_lines():
            if line.startswith("id:"):
                id = line[3:].strip()
            elif line.startswith("data:"):
                data = line[5:]
            elif not line:
                # Without a pause inside: an answer that is given up between two messages has told all of the first, or nothing.
                self._message(id, data)
                id, data = "", ""
                while self._incoming.qsize() >= _MOST_WAITING:
                    self._has_room.clear()
                    await self._has_room.wait()

    def _message(self, id: str, data: str) -> None:
        if not data:
            self._tell({"type": "comment"})  # anything is a sign of life
            return
        frame: Frame = json.loads(data)
        if frame["type"] == "disconnect":
            self._code = frame["code"]
        for each in self._channels.take(frame, id):
            self._tell(each)

    def _refused(self, answer: httpx2.Response) -> LinkClosed | None:
        """None of the channels can be had, or the stream itself cannot."""
        error = _error_of(answer)
        if answer.status_code in _OF_CHANNELS and error is not None:
            for each in self._channels.refuse(error):
                self._tell(each)
            return None
        return _closed_by(answer, error)

    # What is asked.

    def _subscribe(self, frame: Frame) -> None:
        placed = [item for item in frame["channels"] if not _begins(item)]
        self._add({**frame, "channels": placed})
        for item in frame["channels"]:
            if _begins(item):
                self._beginning[item["channel"]] = frame["id"]
                self._spawn(self._begin(frame["id"], item))

    def _add(self, frame: Frame) -> None:
        for each in self._channels.add(frame):
            self._tell(each)
        self._read_again()

    async def _begin(self, id: int, item: Mapping[str, Any]) -> None:
        """Find out where a channel begins that has no place yet, by a poll of it alone: a stream of several has one cursor."""
        channel = item["channel"]
        begins = {name: value for name, value in item.items() if name in ("channel", *_BEGINNINGS)}
        query = {"subscribe": json.dumps(begins), "wait": "0"}
        found: Mapping[str, Any] = {"channel": channel, "error": _NO_PLACE}
        with suppress(*_LOST):
            answer = await self._client.get("/v2/stream/poll", params=query, headers=self._headers())
            error = _error_of(answer)
            found = {"channel": channel, "error": error} if error else next(_placed_in(answer), found)
        if self._beginning.get(channel) != id:
            return  # nobody wants it any more, or it is asked for again
        del self._beginning[channel]
        if "error" in found:
            self._tell({"type": "subscribed", "id": id, "channels": [found]})
            return
        placed = {name: value for name, value in item.items() if name not in _BEGINNINGS}
        self._add(
            {
                "type": "subscribe",
                "id": id,
                "channels": [{**placed, "offset": found["offset"], "epoch": found["epoch"]}],
            }
        )

    async def _authenticate(self, id: int) -> None:
        """Have the hub look at the credential: the answer to this has no body, and opens nothing."""
        try:
            answer = await self._client.head("/v2/stream/events", params={"channel": "agents"}, headers=self._headers())
        except _LOST as error:
            self._tell(LinkClosed(LOST, str(error) or type(error).__name__))
            return
        if answer.status_code == 401:
            error = {"code": "AUTHENTICATION_REQUIRED", "message": "The hub does not take the credential"}
            self._tell({"type": "error", "id": id, "error": error})
        elif answer.status_code == 200 or answer.status_code in _OF_CHANNELS:
            self._tell({"type": "welcome", "id": id, "ping_interval_ms": _SILENCE_MS})
        else:
            self._tell(_closed_by(answer, None))

    async def _request(self, frame: Frame) -> None:
        with suppress(*_LOST):  # its time runs out
            answer = await self._answered(frame)
            self._tell({**answer, "id": frame["id"]})

    async def _answered(self, frame: Frame) -> Frame:
        kind, path = frame["type"], f"/v2/channels/{quote(frame.get('channel', ''), safe='')}/{frame['type']}"
        if kind == "publish" and not frame.get("ephemeral"):
            answer = await self._client.post(path, json={"data": frame["data"]}, headers=self._headers())
        elif kind == "history" or (kind == "presence" and "data" not in frame):
            answer = await self._client.get(path, params=_query(frame), headers=self._headers())
        else:
            return {"type": "error", "error": NEEDS_SOCKET}
        error = _error_of(answer)
        if error is not None:
            return {"type": "error", "error": error}
        # A page of members is a frame of its own, as over a socket.
        return {**answer.json(), "type": kind} if kind == "presence" else {"type": "result", "result": answer.json()}

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}


async def open_events(url: str, *, tls: ssl.SSLContext | None, clock: Clock) -> EventsLink:
    """Find out whether HTTP comes through to an http(s) or ws(s) URL. How long it may take is the caller's. Raises NotOpened."""
    address = url.replace("ws", "http", 1) if url.startswith("ws") else url
    timeout = httpx2.Timeout(_ANSWER_SECONDS, read=None)
    context = tls or (_authorities() if address.startswith("https:") else _NO_AUTHORITIES)
    client = httpx2.AsyncClient(base_url=address, verify=context, timeout=timeout)
    try:
        answer = await client.get("/readyz")
    except _LOST as error:
        await client.aclose()
        raise NotOpened(str(error) or type(error).__name__) from None
    except asyncio.CancelledError:
        await client.aclose()
        raise
    if answer.status_code != 200:
        await client.aclose()
        why, retry_after = f"the hub answered {answer.status_code}", seconds_of(answer.headers.get("Retry-After"))
        raise NotOpened(why, status=answer.status_code, retry_after=retry_after)
    return EventsLink(client, clock)


@cache
def _authorities() -> ssl.SSLContext:
    return ssl.create_default_context()


def _begins(item: Mapping[str, Any]) -> bool:
    return not _BEGINNINGS.isdisjoint(item) and "offset" not in item and "speed" not in item


def _closed_by(answer: httpx2.Response, error: Mapping[str, Any] | None) -> LinkClosed:
    why = f"the hub answered {answer.status_code}" if error is None else str(error.get("message"))
    return LinkClosed(LOST, why, status=answer.status_code, retry_after=seconds_of(answer.headers.get("Retry-After")))


def _placed_in(answer: httpx2.Response) -> Iterator[Mapping[str, Any]]:
    """Return the channels of a poll's `subscribed`, which may be missing."""
    return (item for frame in answer.json()["frames"] if frame["type"] == "subscribed" for item in frame["channels"])


def _query(frame: Frame) -> dict[str, Any]:
    # What a frame calls `offset`, the path calls `after`.
    named = {"after" if name == "offset" else name: value for name, value in frame.items()}
    return {name: value for name, value in named.items() if name not in ("type", "id", "channel")}


def _error_of(answer: httpx2.Response) -> Mapping[str, Any] | None:
    """Return the error object of an answer; None of one that is no error, or none of the hub's."""
    if answer.status_code < 400:
        return None
    try:
        return answer.json()["error"]
    except (ValueError, KeyError, TypeError):
        return {"code": "BAD_GATEWAY", "message": f"an answer with status {answer.status_code} and no error"}
