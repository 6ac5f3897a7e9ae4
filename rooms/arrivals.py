"""News of an organisation's log for who waits for it without a stream, as a pull of a subscription does."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from uuid import UUID

from core.clock import Clock
from core.deadline import ended_within
from rooms.feed import Feeds
from rooms.org_feed import OrgFeed

# While there is no feed (Redis or PostgreSQL is away, or it is on its way), who waits looks so often.
WITHOUT_FEED_SECONDS = 0.5


class News:
    """The log of one organisation, from now on."""

    def __init__(self, feed: "asyncio.Task[OrgFeed]", clock: Clock) -> None:
        self._feed = feed
        self._clock = clock
        self._seen: tuple[int, int] | None = None

    async def wait(self, seconds: float) -> None:
        """Return when the log has more than when this was called last, at the latest after `seconds`.

        The first time it returns as soon as it hears the log: what came before that may have been missed.
        """
        if not self._hears():
            await ended_within(self._clock, min(seconds, WITHOUT_FEED_SECONDS), self._feed)
            return
        feed = self._feed.result()
        seen, self._seen = self._seen, (feed.life, feed.last)
        if seen != self._seen:
            return
        more = asyncio.ensure_future(feed.until(lambda: (feed.life, feed.last) != seen))
        try:
            await ended_within(self._clock, seconds, more)
        finally:
            more.cancel()
        self._seen = (feed.life, feed.last)

    def _hears(self) -> bool:
        return self._feed.done() and not self._feed.cancelled() and self._feed.exception() is None


class Arrivals:
    """What tells requests of events as they come, by the node's own feeds."""

    def __init__(self, feeds: Feeds, clock: Clock) -> None:
        self._feeds = feeds
        self._clock = clock

    @asynccontextmanager
    async def following(self, org_id: UUID) -> AsyncGenerator[News]:
        """Follow the organisation's log; returns at once, also where it cannot be followed for the moment."""
        feed = asyncio.ensure_future(self._feeds.acquire(org_id))
        try:
            yield News(feed, self._clock)
        finally:
            feed.cancel()
            await asyncio.wait({feed})
            if not feed.cancelled() and feed.exception() is None:
                self._feeds.release(org_id)
