"""The client for programs without an event loop: the same one, in a thread of its own.

    with ThreadedLiveClient("https://hub.example.com", api_key="aim_live_...") as live:
        for event in live.subscribe("agents"):
            print(event.type)

Callbacks (`credential`, `on_reset`, `on_frame`, `on_state`) are called in that thread.
"""

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from aimatrix.live.client import LiveClient
from aimatrix.live.errors import Stopped
from aimatrix.live.events import Event, Frame
from aimatrix.live.places import Place
from aimatrix.live.subscription import Subscription

T = TypeVar("T")


class ThreadedSubscription:
    """An iterator over the events of a channel, as `Subscription` is; it may be read by several threads."""

    def __init__(self, client: "ThreadedLiveClient", made: Subscription) -> None:
        self._client = client
        self._made = made

    @property
    def channel(self) -> str:
        """The channel's name."""
        return self._made.channel

    @property
    def place(self) -> Place | None:
        """The place of the last event handed out."""
        return self._made.place

    def joined(self) -> Self:
        """Wait until the hub has said where the channel goes on. Raises as `Subscription.joined`."""
        self._client.run(self._made.joined())
        return self

    def close(self) -> None:
        """Leave the channel; whoever waits for its next event is done."""
        self._client.run(self._close())

    async def _close(self) -> None:
        self._made.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        event = self._client.run(self._next())
        if event is None:
            raise StopIteration
        return event

    async def _next(self) -> Event | None:
        return await anext(self._made, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ThreadedLiveClient:
    """As LiveClient, which says what the arguments are and what is raised; each method waits. Use it as a context manager."""

    def __init__(self, url: str, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="aimatrix.live", daemon=True)
        self._thread.start()
        try:
            self._client = self.run(self._start(url, options))
        except BaseException:
            self._end()
            raise

    async def _start(self, url: str, options: Mapping[str, Any]) -> LiveClient:
        return LiveClient(url, **options).start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something in the client's loop, and wait for it. What is interrupted meanwhile is cancelled there.

        Raises Stopped where the client is closed.
        """
        if not self._thread.is_alive():
            work.close()
            raise Stopped("the client is closed")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        finally:
            future.cancel()

    def subscribe(self, channel: str, **options: Any) -> ThreadedSubscription:
        """Read a channel, as LiveClient.subscribe."""
        return ThreadedSubscription(self, self.run(self._subscribe(channel, options)))

    async def _subscribe(self, channel: str, options: Mapping[str, Any]) -> Subscription:
        return self._client.subscribe(channel, **options)

    def publish(self, channel: str, data: Any, **options: Any) -> Mapping[str, Any]:
        """Publish into a live room."""
        return self.run(self._client.publish(channel, data, **options))

    def history(self, channel: str, **options: Any) -> Mapping[str, Any]:
        """Read what a live room keeps."""
        return self.run(self._client.history(channel, **options))

    def presence(self, channel: str, **options: Any) -> Frame:
        """Ask who is in a channel."""
        return self.run(self._client.presence(channel, **options))

    def call(self, operation: str, input: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Run an operation of REST."""
        return self.run(self._client.call(operation, input, **options))

    def live(self) -> Self:
        """Wait until the client is live."""
        self.run(self._client.live())
        return self

    def close(self) -> None:
        """End, and wait until no task, no socket and no thread is left."""
        if self._thread.is_alive():
            self.run(self._client.close())
            # Who waits in another thread has an answer before the loop ends.
            self.run(_others())
            self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


async def _others() -> None:
    mine = asyncio.current_task()
    others = [each for each in asyncio.all_tasks() if each is not mine]
    if others:
        await asyncio.wait(others)
