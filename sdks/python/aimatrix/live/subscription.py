"""One reader of a channel: what came and was not taken yet, in order, and no more of it than the reader can bear.

A reader that is behind fills its buffer; the client then lets the channel rest at the hub, and asks for it again from the same
place once a quarter is left of it. So memory is bounded, other channels go on, and nothing is lost where the hub has it still:
always in channels of the log, and in live rooms as far as their history reaches (else a reset).
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from types import TracebackType
from typing import Any, Protocol, Self

from aimatrix.live.errors import LiveError, StateLost
from aimatrix.live.events import Event, Frame, Reset
from aimatrix.live.places import Place

OnReset = Callable[[Reset], Awaitable[object] | object]
OnFrame = Callable[[Frame], object]


class Owner(Protocol):
    """Who has the readers of a client, as one of them sees it."""

    def has_room(self, channel: str) -> None:
        """Hear that a reader of `channel`, which was full, has room again."""
        ...


def _nothing() -> None:
    """Nobody needs to hear of it."""


class Subscription:
    """An async iterator over the events of a channel. Made by `LiveClient.subscribe`; `close` it, or use it as a context manager.

    Several tasks may iterate one subscription: each event goes to one of them. A task that is cancelled while it waits for the next
    event loses none. `place` is that of the last event handed out, and moves on in quiet channels too.
    """

    def __init__(
        self, owner: Owner, channel: str, most: int, *, on_reset: OnReset | None, on_frame: OnFrame | None
    ) -> None:
        self.channel = channel
        self.place: Place | None = None
        # Whether nothing since the place that was given is missing; known once joined.
        self.recovered = False
        # Called when it is closed; the client's own.
        self.left: Callable[[], None] = _nothing
        self._owner = owner
        self._most = most
        self._on_reset = on_reset
        self._on_frame = on_frame
        self._items: deque[Event | Reset] = deque()
        self._news = asyncio.Event()
        self._settled = asyncio.Event()
        self._end: LiveError | None = None
        self._is_closed = False
        self._was_full = False
        self._telling = asyncio.Lock()

    @property
    def waiting(self) -> int:
        """How much has come and was not taken yet."""
        return len(self._items)

    @property
    def is_full(self) -> bool:
        """Whether no more is wanted for now."""
        return len(self._items) >= self._most

    @property
    def is_behind(self) -> bool:
        """Whether half of the buffer waits to be taken."""
        return 2 * len(self._items) > self._most

    @property
    def has_room(self) -> bool:
        """Whether so little waits that a channel which was held goes on."""
        return 4 * len(self._items) <= self._most

    async def joined(self) -> Self:
        """Wait until the hub has said where the channel goes on. Raises what ended it: ChannelRefused or Stopped."""
        await self._settled.wait()
        if self._end is not None:
            raise self._end
        return self

    def close(self) -> None:
        """Leave the channel, unless others read it too. What was not taken is dropped, and iterating ends."""
        if self._is_closed:
            return
        self._is_closed = True
        self._items.clear()
        self.left()
        self._settled.set()
        self._news.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """Return the next event. Raises StateLost where a reset has nobody to hear it, and at the end what ended the channel."""
        while True:
            while not self._items:
                await self._wait()
            item = self._items[0]
            if isinstance(item, Reset):
                await self._tell_of(item)
                continue
            return self._taken()

    async def _wait(self) -> None:
        if self._is_closed:
            raise StopAsyncIteration
        if self._end is not None:
            raise self._end
        self._news.clear()
        await self._news.wait()

    def _taken(self) -> Any:
        item = self._items.popleft()
        self.place = item.place
        if self._was_full and self.has_room:
            self._was_full = False
            self._owner.has_room(self.channel)
        return item

    async def _tell_of(self, reset: Reset) -> None:
        """Have the program hear of a reset before what follows it; it stays first until that has worked."""
        if self._on_reset is None:
            self._taken()
            raise StateLost(self.channel, reset.place, reset.reason)
        async with self._telling:
            if not self._items or self._items[0] is not reset:
                return
            told = self._on_reset(reset)
            if isawaitable(told):
                await told
            if self._items and self._items[0] is reset:
                self._taken()

    # What the client tells its readers.

    def take(self, item: Event | Reset) -> None:
        """Add what has come."""
        self._items.append(item)
        self._was_full = self._was_full or self.is_full
        self._news.set()

    def take_place(self, place: Place | None, *, recovered: bool) -> None:
        """Note where the channel goes on, as the hub has said."""
        if not self._settled.is_set():
            self.place, self.recovered = place, recovered
        self._settled.set()

    def take_bookmark(self, place: Place) -> None:
        """Note that nothing came up to `place`."""
        if not self._items and self.place is not None:
            self.place = place

    def take_frame(self, frame: Frame) -> None:
        """Hand on a frame that is no event, such as who came and went."""
        if self._on_frame is not None:
            self._on_frame(frame)

    def take_end(self, error: LiveError) -> None:
        """End it: what has come before is still handed out."""
        self._end = error
        self._settled.set()
        self._news.set()
