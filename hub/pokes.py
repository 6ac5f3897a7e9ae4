"""Pokes between nodes: who commits events wakes the relay that holds their shards, wherever it runs.

In the own process that is a flag. For other nodes one Redis message stands for all commits of a millisecond. A lost poke costs at
most a second: every relay looks by itself.
"""

import asyncio
from collections.abc import Sequence

import structlog
from redis.exceptions import RedisError

from core.clock import Clock
from core.deadline import end_tasks
from core.events.relay import Relay
from core.store.redis import Redis

CHANNEL = "relay:pokes"
JOINED_SECONDS = 0.001


class Pokes:
    """Wakes relays. `poke()` is for whoever committed, `heard()` for the feed of other nodes' pokes."""

    def __init__(self, relay: Relay, redis: Redis, clock: Clock) -> None:
        self._relay = relay
        self._clock = clock
        self._redis = redis
        self._sending: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._failing = False
        self._log = structlog.get_logger()

    def poke(self) -> None:
        """Say that events were committed."""
        self._relay.poke()
        if not self._relay.holds_all and self._sending is None:
            self._sending = asyncio.create_task(self._send())
            self._tasks.add(self._sending)
            self._sending.add_done_callback(self._tasks.discard)

    def heard(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Take pokes of other nodes."""
        if messages:
            self._relay.poke()

    async def _send(self) -> None:
        await self._clock.sleep(JOINED_SECONDS)
        # From here on a commit needs a message of its own.
        self._sending = None
        try:
            await self._redis.spublish(CHANNEL, b"1")
            self._failing = False
        except (RedisError, OSError, TimeoutError) as error:
            # Once an outage: every commit tries again.
            if not self._failing:
                self._log.warning("poke_not_sent", error=type(error).__name__)
            self._failing = True

    async def close(self) -> None:
        """End what is under way."""
        await end_tasks(tuple(self._tasks))
