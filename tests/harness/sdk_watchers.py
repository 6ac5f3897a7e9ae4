"""Readers by the SDKs, with the record that the checker asks for: what their programs were given, in order.

An SDK comes back by itself and does not say so of each channel: what its program sees is one life of a channel until a reset. Where
no socket can be opened it falls back to server-sent events, if it asks for nothing that these have not.
"""

import asyncio
import random
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from aimatrix.live import Changed, LiveClient, Place, Reset, State, Subscription
from aimatrix.live.clock import Clock
from tests.harness.node_reader import NodeReader
from tests.harness.stream_client import Bookmark
from tests.harness.views import Brought, Event, View
from tests.harness.waiting import PATIENCE_SECONDS, cancelled, eventually
from tests.harness.watcher import Kind, Told


def quick() -> float:
    """Come back at once, nearly: what is waited for otherwise is seconds of pauses."""
    return 0.02


class SdkWatcher(ABC):
    """What readers by any SDK have: a record, and where each channel is. Use as an async context manager."""

    way: ClassVar[str]

    def __init__(self, url: str, key: str, channels: Sequence[str], views: Mapping[str, View]) -> None:
        self.channels = channels
        self.views = views
        self.record: list[Told] = []
        self.problems: list[str] = []
        self.connections = 0
        self.closes: list[str] = []
        self._url = url
        self._key = key
        self._places: dict[str, Bookmark] = {}

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    @abstractmethod
    async def __aexit__(self, *_: object) -> None: ...

    @property
    @abstractmethod
    def live(self) -> bool:
        """Whether every channel is subscribed now. Raises what ended the reader."""

    async def joined(self, *, within: float = PATIENCE_SECONDS) -> None:
        """Wait until every channel is subscribed."""
        await eventually(
            lambda: self.live and len(self._places) == len(self.channels), within=within, what=f"{self.way}: joined"
        )

    def told(self, channel: str) -> list[Told]:
        """Return the record of one channel."""
        return [each for each in self.record if each.channel == channel]

    def bookmark(self, channel: str) -> Bookmark:
        """Return where the reader is."""
        return self._places.get(channel, Bookmark())

    def is_at(self, channel: str, epoch: str, offset: int) -> bool:
        """Tell whether the channel has come to this place; never of another epoch."""
        mark = self.bookmark(channel)
        return mark.epoch == epoch and mark.offset is not None and mark.offset >= offset

    def _note(self, kind: Kind, channel: str, place: Place, **rest: Any) -> None:
        offset = int(place.offset)
        self._places[channel] = Bookmark(offset, place.epoch)
        self.record.append(Told(kind, channel, place.epoch, offset, self.connections, **rest))


class PythonWatcher(SdkWatcher):
    """Somebody who follows channels by the Python SDK, each in a task of its own; `form` and `compression` are drawn."""

    way = "Python SDK"

    def __init__(
        self,
        url: str,
        key: str,
        channels: Sequence[str],
        views: Mapping[str, View],
        rng: random.Random,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(url, key, channels, views)
        self._client = LiveClient(
            url,
            api_key=key,
            form=rng.choice(("json", "msgpack")),
            compression=rng.choice((True, False)),
            fallback=not views,
            clock=clock,
            draw=quick,
            on_state=self._take_state,
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        self._tasks = [asyncio.create_task(self._follow(channel)) for channel in self.channels]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            await cancelled(task)
        await self._client.close()

    @property
    def live(self) -> bool:
        """Whether every channel is subscribed now. Raises what ended the reader."""
        for task in self._tasks:
            if task.done():
                task.result()
                raise RuntimeError("a channel has ended")
        return self._client.state is State.LIVE

    async def _follow(self, channel: str) -> None:
        view = self.views.get(channel)
        options = None if view is None else view.options
        async with self._client.subscribe(channel, options=options, on_reset=self._take_reset) as subscription:
            await subscription.joined()
            self._note("joined", channel, _known(subscription), asked=Bookmark())
            async for event in subscription:
                self._note("event", channel, event.place, event=event.body, left=event.left)

    def _take_reset(self, reset: Reset) -> None:
        self._note("reset", reset.channel, reset.place, reason=reset.reason)

    def _take_state(self, changed: Changed) -> None:
        self.closes.append(f"{changed}")
        if changed.state is State.LIVE:
            self.connections += 1
        elif changed.state is State.STOPPED and changed.why:
            self.problems.append(f"it has stopped: {changed.why}")


class NodeWatcher(SdkWatcher):
    """Somebody who follows channels by the JavaScript SDK in Node: a process that tells what its program was given.

    That SDK hands patches on as they are; its program makes events whole as docs/views.md says.
    """

    way = "Node SDK"

    def __init__(
        self, url: str, key: str, channels: Sequence[str], views: Mapping[str, View], rng: random.Random
    ) -> None:
        super().__init__(url, key, channels, views)
        self._brought: dict[str, Brought] = defaultdict(Brought)
        self._reader = NodeReader(
            url,
            key,
            list(channels),
            loop=rng.choice((True, False)),
            fallback=not views,
            hurry=True,
            items={channel: view.options for channel, view in views.items()},
            on_told=self._take,
        )

    async def __aenter__(self) -> Self:
        await self._reader.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._reader.__aexit__()

    @property
    def live(self) -> bool:
        """Whether every channel is subscribed now. Raises what ended the reader."""
        self._reader.check_alive()
        return self._reader.state == "live"

    def _take(self, told: Mapping[str, Any]) -> None:
        match told["told"]:
            case "event":
                self._take_event(told["frame"])
            case "reset":
                frame = told["frame"]
                self._brought[frame["channel"]].anew()
                self._note("reset", frame["channel"], _place(frame), reason=str(frame.get("reason")))
            case "joined":
                item = told["item"]
                self._brought[item["channel"]].anew()
                if item["channel"] not in self._places:
                    self._note("joined", item["channel"], _place(item), asked=Bookmark())
            case "state":
                self.connections += told["state"] == "live"
                self.closes.append(" ".join(str(each) for name, each in told.items() if name != "told"))
            case "refused" | "left" | "failed" | "ended" if told.get("final", True):
                self.problems.append(f"{told}")
            case _:
                pass

    def _take_event(self, frame: Mapping[str, Any]) -> None:
        channel = frame["channel"]
        event: Event = frame["event"]
        if "delta" in (self.views[channel].options if channel in self.views else {}):
            try:
                event = self._brought[channel].whole(frame)
            except LookupError as error:
                self.problems.append(f"{error!r}: a patch of what was not brought: {frame}")
        self._note("event", channel, _place(frame), event=event, left="left" in frame)


def _place(of: Mapping[str, Any]) -> Place:
    return Place(of["offset"], of["epoch"])


def _known(subscription: Subscription) -> Place:
    assert subscription.place is not None
    return subscription.place
