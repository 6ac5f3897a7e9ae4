"""Programs that read by the SDK, with a record of what they were given."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from aimatrix.live import LiveClient, Place, Reset, Subscription
from tests.harness.ledger import Ledger, Logged, problems_of_channel
from tests.harness.stream_client import Received
from tests.harness.waiting import cancelled, eventually


class OpenClient(Protocol):
    """Opens a client that is closed at the end of the test."""

    def __call__(self, url: str, key: str | None = None, /, **options: Any) -> LiveClient:
        """Open one."""
        ...


def http(url: str) -> str:
    """Return the address that a client is given, from that of a stream."""
    return url.replace("ws", "http", 1).partition("/v1/")[0].partition("/v2/")[0]


async def taken(subscription: Subscription, count: int) -> list[Mapping[str, Any]]:
    """Return the next events' bodies."""
    return [(await anext(subscription)).body for _ in range(count)]


def numbers(bodies: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the numbers in them."""
    return [each["data"]["number"] for each in bodies]


@dataclass
class Follower:
    """Somebody who reads channels, each in a task of its own. Use as an async context manager."""

    client: LiveClient
    channels: Sequence[str]
    received: dict[str, list[Received]] = field(default_factory=dict[str, list[Received]])
    start: dict[str, int] = field(default_factory=dict[str, int])
    resets: list[Reset] = field(default_factory=list[Reset])
    _tasks: list[asyncio.Task[None]] = field(default_factory=list["asyncio.Task[None]"])

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._follow(channel)) for channel in self.channels]
        await eventually(lambda: self.check() and len(self.start) == len(self.channels), what="every channel is joined")
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            await cancelled(task)

    def check(self) -> bool:
        """Raise what has ended it, if anything has."""
        for task in self._tasks:
            if task.done():
                task.result()
        return True

    async def _follow(self, channel: str) -> None:
        mine = self.received.setdefault(channel, [])
        async with self.client.subscribe(channel, on_reset=self.resets.append) as subscription:
            await subscription.joined()
            self.start[channel] = int(_known(subscription.place).offset)
            async for event in subscription:
                mine.append(Received(channel, event.place.epoch, int(event.place.offset), event.body))

    async def has_all(self, log: Sequence[Logged], *, within: float = 60.0) -> None:
        """Wait until the last event of each channel has come."""
        ends = {
            channel: max((each.position for each in log if each.belongs_to(channel)), default=0)
            for channel in self.channels
        }

        def there() -> bool:
            self.check()
            return all(
                ends[channel] <= self.start[channel]
                or (bool(self.received[channel]) and self.received[channel][-1].offset >= ends[channel])
                for channel in self.channels
            )

        await eventually(there, within=within, every=0.02, what=f"the ends {ends}")

    def problems(self, ledger: Ledger) -> list[str]:
        """Return what is wrong with what came, against the log; no reset may have come."""
        found = [f"reset: {each}" for each in self.resets]
        for channel in self.channels:
            found += problems_of_channel(self.received[channel], ledger.log, channel, after=self.start[channel])
        return found


def _known(place: Place | None) -> Place:
    assert place is not None
    return place
