"""A node's subscriptions: hands each channel's messages to its receiver, those of one read together."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from core.clock import Clock
from core.store.pubsub import Batch, PubSub


class Receiver(Protocol):
    """Takes a channel's messages, synchronously; it must not raise."""

    def receive(self, payloads: Sequence[bytes]) -> None:
        """Take the messages of one read, in the order in which Redis sent them."""
        ...


class Switch:
    """`open()` first, `close()` at the end. Whoever opens it surfaces `keeper`."""

    def __init__(self, redis_url: str, *, clock: Clock) -> None:
        self._pubsub = PubSub(redis_url, clock=clock, on_batch=self._on_batch, on_connected=self._on_connected)
        self._receivers: dict[str, Receiver] = {}
        self._listeners: list[Callable[[Sequence[Receiver]], None]] = []

    @property
    def connected(self) -> bool:
        """Whether every connection to Redis that is needed stands."""
        return self._pubsub.connected

    @property
    def keeper(self) -> asyncio.Task[None]:
        """The task that keeps the connections: ends by close(), or by a bug."""
        return self._pubsub.keeper

    def hears(self, channel: str) -> bool:
        """Tell whether the channel is subscribed, as far as is known."""
        return self._pubsub.hears(channel)

    def when_connected(self, listener: Callable[[Sequence[Receiver]], None]) -> None:
        """Call `listener` when channels are subscribed again, with their receivers: these may have missed something."""
        self._listeners.append(listener)

    async def open(self) -> None:
        """Begin to connect; returns at once, also when Redis is away."""
        await self._pubsub.open()

    async def close(self) -> None:
        """Close the connections; whoever waits in subscribe() gets ConnectionError."""
        await self._pubsub.close()

    async def subscribe(self, channel: str, receiver: Receiver) -> None:
        """Return when Redis has confirmed the subscription; waits for as long as Redis is away.

        Raises ConnectionError when the channel is unsubscribed meanwhile.
        """
        self._receivers[channel] = receiver
        await self._pubsub.subscribe(channel)

    def unsubscribe(self, channel: str) -> None:
        """Want the channel no more: nothing of it is handed over from now on."""
        self._receivers.pop(channel, None)
        self._pubsub.unsubscribe(channel)

    def _on_connected(self, channels: Sequence[str]) -> None:
        receivers = [self._receivers[channel] for channel in channels if channel in self._receivers]
        for listener in self._listeners:
            listener(receivers)

    def _on_batch(self, batch: Batch) -> None:
        grouped: dict[str, list[bytes]] = {}
        for channel, payload in batch:
            payloads = grouped.get(channel)
            if payloads is None:
                grouped[channel] = [payload]
            else:
                payloads.append(payload)
        for channel, payloads in grouped.items():
            receiver = self._receivers.get(channel)
            if receiver is not None:
                receiver.receive(payloads)
