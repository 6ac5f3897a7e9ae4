"""The feeds of a node: one subscription, one OrgFeed, one ring for every organisation that is present here."""

import asyncio
from collections.abc import Iterable
from uuid import UUID

from core.clock import Clock
from core.deadline import ended_within
from core.events.event import Entry, LogHead
from rooms.org_feed import FeedCounts, Log, OrgFeed, Sink, Tail
from rooms.slots import QUIET_TICKS, TICK_SECONDS, Slots
from rooms.switch import Switch
from rooms.tasks import Tasks
from rooms.wire import feed_channel

__all__ = ["QUIET_TICKS", "TICK_SECONDS", "Feeds", "Log", "OrgFeed", "Sink", "Tail"]

# Checks and fills of one node that read PostgreSQL at the same time: after a reconnect all organisations want to.
READERS = 4


class Feeds:
    """All feeds of a node; owns their pub/sub connection. `open()`, then `run()` beside everything else, `close()` at the end."""

    def __init__(self, redis_url: str, *, tails: Tail, log: Log, clock: Clock, sink: Sink) -> None:
        # Live rooms are heard on the same connection.
        self.switch = Switch(redis_url, clock=clock)
        self.switch.when_connected(self._check)
        self._tails = tails
        self._log = _Queued(log)
        self._clock = clock
        self._sink = sink
        self.counts = FeedCounts()
        self._tasks = Tasks()
        self._slots = Slots(make=self._make_feed, channel=feed_channel, switch=self.switch, tasks=self._tasks)

    @property
    def present(self) -> list[OrgFeed]:
        """The feeds of the organisations that are present."""
        return list(self._slots)

    @property
    def connected(self) -> bool:
        """Whether the connection to Redis stands."""
        return self.switch.connected

    async def open(self) -> None:
        """Begin to connect; returns at once, also when Redis is away."""
        await self.switch.open()

    async def close(self) -> None:
        """End the subscriptions and every task."""
        self._slots.close()
        await self._tasks.close()
        await self.switch.close()

    async def run(self) -> None:
        """Look after the feeds until cancelled. A bug in a background task of theirs is raised here."""
        crash = self._tasks.crash
        while not await ended_within(self._clock, TICK_SECONDS, crash, self.switch.keeper):
            # Without Redis the log is the only news.
            for feed in self._slots.tick(unheard_are_quiet=True):
                feed.check()
        ended = crash if crash.done() else self.switch.keeper
        if not ended.cancelled():  # close() was quicker
            ended.result()

    async def acquire(self, org_id: UUID) -> OrgFeed:
        """Return the organisation's feed: subscribed, confirmed, its head known. Give it back with release(), once.

        Waits while Redis is away. Raises HubError SERVICE_UNAVAILABLE while PostgreSQL is; cancelled or failed, nothing is to
        be given back.
        """
        return await self._slots.acquire(org_id)

    def release(self, org_id: UUID) -> None:
        """Give a feed back. It stays subscribed for some seconds more: a client that reconnects finds the ring."""
        self._slots.release(org_id)

    def check_all(self) -> None:
        """Compare every feed with the log, in the background: when something may be missing."""
        self._check(self.present)

    def _check(self, feeds: Iterable[object]) -> None:
        for feed in feeds:
            if isinstance(feed, OrgFeed):
                feed.check()

    def _make_feed(self, org_id: UUID) -> OrgFeed:
        return OrgFeed(
            org_id,
            tails=self._tails,
            log=self._log,
            sink=self._sink,
            clock=self._clock,
            spawn=self._tasks.spawn,
            counts=self.counts,
        )


class _Queued:
    """The log, read by a few at a time, so that feeds leave the pool to requests."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._room = asyncio.Semaphore(READERS)

    async def head(self, org_id: UUID) -> LogHead:
        """Return where the log ends."""
        async with self._room:
            return await self._log.head(org_id)

    async def range(self, org_id: UUID, *, after: int, upto: int, limit: int) -> list[Entry]:
        """Return the entries after `after` up to `upto`, dense."""
        async with self._room:
            return await self._log.range(org_id, after=after, upto=upto, limit=limit)
