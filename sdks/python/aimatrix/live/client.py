"""The client: many readers of many channels over one connection that comes back by itself."""

import asyncio
import itertools
import logging
import random
import ssl
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, Self

from aimatrix.live.clock import Clock, SystemClock
from aimatrix.live.driver import Credential, Driver
from aimatrix.live.errors import (
    AnswerLost,
    ChannelRefused,
    CredentialRefused,
    LiveError,
    NotAnswered,
    RequestRefused,
    Stopped,
)
from aimatrix.live.events import Event, Frame, Reset
from aimatrix.live.forms import form_of
from aimatrix.live.links import Link
from aimatrix.live.machine import Machine
from aimatrix.live.places import Place
from aimatrix.live.readers import Readers
from aimatrix.live.server_sent import open_events
from aimatrix.live.signals import (
    Answer,
    Bookmark,
    Changed,
    Failed,
    Joined,
    Key,
    Left,
    Other,
    Output,
    Refused,
    State,
    Transport,
    Warned,
    Welcomed,
)
from aimatrix.live.sockets import open_socket
from aimatrix.live.subscription import OnFrame, OnReset, Subscription

_LOG = logging.getLogger("aimatrix.live")
BUFFER = 1024
TIMEOUT_SECONDS = 30.0


class LiveClient:
    """One connection to a hub, for as many readers as you like. Use it as an async context manager, in one event loop.

    `url` is the hub's address, such as `https://hub.example.com`. The credential is an `api_key`, or a `credential`: a function,
    async or not, that gives a token each time that another is needed. `form` is `json` or `msgpack`. `buffer` is how many events
    wait for a reader before its channel rests. `timeout` is that of requests, in seconds. `on_state` is told of each change of
    `state`. Where `fallback` is not taken away, server-sent events are read where sockets cannot be opened.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        credential: Credential | None = None,
        form: str = "json",
        compression: bool = False,
        fallback: bool = True,
        tls: ssl.SSLContext | None = None,
        buffer: int = BUFFER,
        timeout: float = TIMEOUT_SECONDS,
        on_state: Callable[[Changed], object] | None = None,
        clock: Clock | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        if (api_key is None) == (credential is None):
            raise ValueError("give either an api_key or a credential")
        if buffer < 1:
            raise ValueError("buffer is at least 1")
        self.state = State.STOPPED
        # Who the hub says that this is: the subject of `welcome`.
        self.subject: str | None = None
        self._url = url.rstrip("/")
        self._form = form_of(form)
        self._compression = compression
        self._tls = tls
        self._clock = clock or SystemClock()
        self._buffer = buffer
        self._timeout = timeout
        self._on_state = on_state
        self._keys = itertools.count(1)
        self._waiting: dict[Key, asyncio.Future[Frame]] = {}
        self._is_closed = False
        self._machine = Machine(draw, has_fallback=fallback)
        self._driver = Driver(
            self._machine,
            self,
            clock=self._clock,
            credential=credential or partial(_same, api_key or ""),
            open_link=self._open_link,
        )
        self._readers = Readers(self._held, self._resumed)
        self._settled = asyncio.Event()
        self._stopped: Stopped | None = None

    # Life.

    def start(self) -> Self:
        """Connect, and come back from now on; again after it has stopped by itself. Does nothing where it runs."""
        self._is_closed, self._stopped = False, None
        self._driver.start()
        return self

    async def close(self) -> None:
        """End: say goodbye to the hub, end iterations and requests, and wait until no task and no socket is left."""
        self._is_closed = True
        self._readers.close()
        await self._driver.close()

    async def __aenter__(self) -> Self:
        return self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def live(self) -> Self:
        """Wait until the client is live. Raises Stopped where it has stopped by itself, or was closed."""
        while self.state is not State.LIVE:
            if self.state is State.STOPPED:
                raise self._stopped or Stopped("the client is not started, or closed")
            self._settled.clear()
            await self._settled.wait()
        return self

    @property
    def transport(self) -> Transport:
        """What the connection is made of, or was last: `socket`, or `events` where no socket could be opened."""
        return self._machine.transport

    # Channels.

    def subscribe(
        self,
        channel: str,
        *,
        place: Place | None = None,
        since: datetime | str | None = None,
        after_event: str | None = None,
        options: Mapping[str, Any] | None = None,
        on_reset: OnReset | None = None,
        on_frame: OnFrame | None = None,
        buffer: int | None = None,
    ) -> Subscription:
        """Read a channel: iterate what is returned. The hub is asked once, however many read one channel.

        It begins after `place`, kept from an `Event` or a `Subscription`; or after what was recorded at `since`; or after the event
        with the id `after_event`; else with the present. `options` are further members of the channel's item in a subscribe frame.
        `on_reset`, async or not, is told where events may be missing; without it iterating raises StateLost there. `on_frame` is
        told of its other frames, such as `presence`. Raises ValueError for a beginning in a channel that is read already.
        """
        begin = _beginning(place, since, after_event)
        if begin and self._readers.has(channel):
            raise ValueError(f"{channel} is read already: where it begins is for its first reader to say")
        made = Subscription(self._readers, channel, buffer or self._buffer, on_reset=on_reset, on_frame=on_frame)
        made.left = partial(self._left, made)
        if self._stopped is not None:
            made.take_end(self._stopped)
            return made
        known = self._machine.place(channel)
        if self._readers.has(channel) and known is not None:
            made.take_place(known, recovered=True)
        self._readers.add(made, has_deltas=bool((options or {}).get("delta")))
        self._machine.subscribe(self._driver.now(), [{"channel": channel, **begin, **(options or {})}])
        self._driver.work()
        return made

    # Requests.

    async def request(self, frame: Frame, *, timeout: float | None = None) -> Frame:
        """Send a frame that has an answer and return that; it waits for a connection where there is none.

        Raises RequestRefused, NotAnswered after `timeout` seconds, Stopped; and AnswerLost where the connection ended before the
        answer of what is not safe to send again: all but `history`, reading `presence`, and what has an `idempotency_key`.
        """
        if self._is_closed or self._stopped is not None:
            raise self._stopped or Stopped("the client is closed")
        key = next(self._keys)
        future: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._waiting[key] = future
        milliseconds = 1000 * (self._timeout if timeout is None else timeout)
        self._machine.request(self._driver.now(), key, frame, milliseconds)
        self._driver.work()
        try:
            return await future
        finally:
            self._waiting.pop(key, None)
            self._machine.abandon(key)

    async def publish(
        self, channel: str, data: Any, *, ephemeral: bool = False, timeout: float | None = None
    ) -> Mapping[str, Any]:
        """Publish into a live room; return the `result`: in most of them `offset`, `epoch`, `event_id`. Raises as `request`.

        With `ephemeral` it is for those who are there now, as a `signal` (`on_frame`): nobody keeps it, and it has no place.
        """
        more = {"ephemeral": True} if ephemeral else {}
        answer = await self.request({"type": "publish", "channel": channel, "data": data, **more}, timeout=timeout)
        return answer["result"]

    async def history(
        self,
        channel: str,
        *,
        limit: int = 50,
        after: Place | None = None,
        before: str | None = None,
        timeout: float | None = None,
    ) -> Mapping[str, Any]:
        """Read what a live room keeps: `events`, oldest first, and where the room ends. Raises as `request`."""
        place = {} if after is None else {"offset": after.offset, "epoch": after.epoch}
        earlier = {} if before is None else {"before": before}
        frame = {"type": "history", "channel": channel, "limit": limit, **place, **earlier}
        return (await self.request(frame, timeout=timeout))["result"]

    async def presence(self, channel: str, *, timeout: float | None = None, **members: Any) -> Frame:
        """Ask who is in a channel; return the `presence` frame. `members` are further ones of the frame. Raises as `request`."""
        return await self.request({"type": "presence", "channel": channel, **members}, timeout=timeout)

    async def call(
        self,
        operation: str,
        input: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Run an operation of REST, such as `agents.create`; return its result. With a key it happens once. Raises as `request`."""
        frame: dict[str, Any] = {"type": "call", "operation": operation, "input": dict(input or {})}
        if idempotency_key is not None:
            frame["idempotency_key"] = idempotency_key
        return (await self.request(frame, timeout=timeout))["result"]

    async def acknowledge(self, event: Event, *, timeout: float | None = None) -> bool:
        """Say that an event of a durable subscription is done; tell whether the hub took it. Raises as `request`."""
        frame = {"type": "ack", "channel": event.channel, "deliveries": [event.frame["delivery"]]}
        return bool((await self.request(frame, timeout=timeout))["result"]["done"])

    # What the machine says.

    @property
    def is_crowded(self) -> bool:
        """Whether some reader is behind."""
        return self._readers.is_crowded

    async def relieved(self) -> None:
        """Give readers that are behind a moment; where that does not help, let their channels rest."""
        await self._readers.relieved(rests=self.transport == "socket")

    def take(self, output: Output) -> None:
        """Tell readers and requesters what the machine says."""
        match output:
            case Answer():
                self._answer(output.key, output.frame)
            case Failed():
                self._answer(output.key, _failure(output.error))
            case Changed():
                self._changed(output)
            case Welcomed():
                self.subject = output.frame.get("subject")
            case Warned():
                _LOG.warning("the hub has refused a frame: %s", output.error)
            case _:
                self._take_of_channel(output)

    def _take_of_channel(self, output: Output) -> None:
        match output:
            case Event() | Reset():
                self._readers.take(output)
            case Joined():
                # Not the place of the answer: after a loss the old one holds until its reset has come.
                place, recovered = self._machine.place(output.channel), bool(output.item.get("recovered"))
                self._readers.joined(output.channel, place, recovered)
            case Bookmark():
                self._readers.bookmark(self._machine.place)
            case Other():
                self._readers.other(output.channel, output.frame)
            case Refused() | Left():
                self._refused(output)
            case _:
                raise TypeError(f"not for a client: {output}")

    def _refused(self, output: Refused | Left) -> None:
        if isinstance(output, Refused) and not output.is_final:
            _LOG.info("%s is refused for now: %s", output.channel, output.error)
            return
        self._readers.end(output.channel, ChannelRefused(output.channel, output.error))

    def _answer(self, key: Key, answer: Frame | LiveError) -> None:
        future = self._waiting.pop(key, None)
        if future is None or future.done():
            return
        if isinstance(answer, LiveError):
            future.set_exception(answer)
        else:
            future.set_result(answer)

    def _changed(self, changed: Changed) -> None:
        self.state = changed.state
        self._settled.set()
        if changed.state is State.STOPPED and not self._is_closed:
            kind = CredentialRefused if changed.is_of_credential else Stopped
            self._stopped = kind(changed.why)
            self._readers.end_all(self._stopped)
            for key in list(self._waiting):
                self._answer(key, self._stopped)
        if self._on_state is not None:
            self._on_state(changed)

    def _held(self, channel: str) -> None:
        self._machine.hold(self._driver.now(), channel)
        self._driver.work()

    def _resumed(self, channel: str) -> None:
        self._machine.resume(self._driver.now(), channel)
        self._driver.work()

    def _left(self, subscription: Subscription) -> None:
        if self._readers.remove(subscription):
            self._machine.unsubscribe(self._driver.now(), [subscription.channel])
            self._driver.work()

    async def _open_link(self, transport: Transport) -> Link:
        if transport == "events":
            return await open_events(self._url, tls=self._tls, clock=self._clock)
        url = f"{self._url}/v2/stream"
        return await open_socket(url, self._form, compression=self._compression, tls=self._tls)


def _same(api_key: str) -> str | Awaitable[str]:
    return api_key


def _beginning(place: Place | None, since: datetime | str | None, after_event: str | None) -> dict[str, Any]:
    given = [each for each in (place, since, after_event) if each is not None]
    if len(given) > 1:
        raise ValueError("a channel begins at a place, or since a time, or after an event")
    if place is not None:
        if not (place.offset.isascii() and place.offset.isdigit()):
            raise ValueError("an offset is decimal digits")
        return {"offset": place.offset, "epoch": place.epoch}
    if since is not None:
        if isinstance(since, datetime) and since.tzinfo is None:
            raise ValueError("since has a time zone")
        return {"since": since.isoformat() if isinstance(since, datetime) else since}
    return {} if after_event is None else {"after_event": after_event}


def _failure(error: Mapping[str, Any]) -> LiveError:
    message = str(error.get("message"))
    match error.get("code"):
        case "CLOSED":
            return Stopped(message)
        case "CONNECTION_LOST":
            return AnswerLost(message)
        case "TIMED_OUT":
            return NotAnswered(message)
        case _:
            return RequestRefused(error, "refused")
