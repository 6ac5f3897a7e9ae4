"""Pokes between processes: who commits events wakes the relay that holds their shards, who commits a job wakes workers, wherever
they run.

In the own process that is a flag. For others one Redis message stands for all commits of a millisecond. A lost poke costs at
most a second: relays and workers look by themselves.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import structlog
from redis.exceptions import RedisError

from core.clock import Clock
from core.deadline import end_tasks
from core.store.pubsub import PubSub
from core.store.redis import Redis

CHANNEL = "relay:pokes"
JOBS_CHANNEL = "jobs:pokes"
JOINED_SECONDS = 0.001


class Poked(Protocol):
    """Who is to be woken: the relay, or the workers, of this process."""

    @property
    def holds_all(self) -> bool:
        """Whether nobody else needs a poke."""
        ...

    def poke(self) -> None:
        """Wake it."""
        ...


class Pokes:
    """Wakes who listens to `channel`; `poked` is None where this process has nobody.

    `poke()` is for whoever committed, `heard()` for the feed of others' pokes.
    """

    def __init__(self, poked: Poked | None, redis: Redis, clock: Clock, channel: str = CHANNEL) -> None:
        self.channel = channel
        self._poked = poked
        self._clock = clock
        self._redis = redis
        self._sending: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._failing = False
        self._log = structlog.get_logger()

    def poke(self) -> None:
        """Say that something was committed."""
        if self._poked is not None:
            self._poked.poke()
        if (self._poked is None or not self._poked.holds_all) and self._sending is None:
            self._sending = asyncio.create_task(self._send())
            self._tasks.add(self._sending)
            self._sending.add_done_callback(self._tasks.discard)

    def heard(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Take pokes of others."""
        if any(channel == self.channel for channel, _ in messages):
            self.connected()

    def connected(self) -> None:
        """Wake: what was said before others could be heard is not known."""
        if self._poked is not None:
            self._poked.poke()

    async def _send(self) -> None:
        await self._clock.sleep(JOINED_SECONDS)
        # From here on a commit needs a message of its own.
        self._sending = None
        try:
            await self._redis.spublish(self.channel, b"1")
            self._failing = False
        except (RedisError, OSError, TimeoutError) as error:
            # Once an outage: every commit tries again.
            if not self._failing:
                self._log.warning("poke_not_sent", error=type(error).__name__)
            self._failing = True

    async def close(self) -> None:
        """End what is under way."""
        await end_tasks(tuple(self._tasks))


async def hear(url: str, clock: Clock, *pokes: Pokes) -> PubSub:
    """Return the open feed that brings pokes to `pokes`, for `follow`; the caller closes it."""

    def take(messages: Sequence[tuple[str, bytes]]) -> None:
        for each in pokes:
            each.heard(messages)

    def connect(_channels: object) -> None:
        for each in pokes:
            each.connected()

    heard = PubSub(url, clock=clock, on_batch=take, on_connected=connect)
    await heard.open()
    return heard


async def follow(heard: PubSub, *pokes: Pokes) -> None:
    """Follow the pokes of others; what ends the connection's keeper, a bug, ends this."""
    for each in pokes:
        await heard.subscribe(each.channel)
    await asyncio.wait({heard.keeper})
    if not heard.keeper.cancelled():
        heard.keeper.result()
