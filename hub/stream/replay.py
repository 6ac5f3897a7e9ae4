"""What a subscription of the log missed, given at the pace at which it was recorded (docs/views.md, "Replay").

What was recorded when the client asked is replayed; what came meanwhile is no matter of the pace, and comes by catching up. Read
page by page, each written when the client has taken what was before it: a client that does not read holds nobody but itself.
"""

from collections.abc import Callable
from datetime import datetime

from core.errors import HubError
from core.events.event import Entry
from hub.stream.commands import Pace
from hub.stream.subscription import CHUNK_BYTES, Owner, Sources, Subscription
from rooms.org_feed import OrgFeed

PAGE = 128
RETRY_SECONDS = 0.25
# How far a replay may be late and make up for it. What is later, by a client that paused, it does not hurry after.
MOST_LATE_SECONDS = 1.0


class Replay:
    """One subscription's; `run` once."""

    def __init__(self, feed: OrgFeed, sources: Sources, owner: Owner, subscription: Subscription, pace: Pace) -> None:
        self._feed = feed
        self._sources = sources
        self._owner = owner
        self._subscription = subscription
        self._pace = pace
        self._due = sources.clock.monotonic()
        self._before: datetime | None = None
        self._pending: list[bytes] = []
        self._pending_size = 0
        self._upto = subscription.sent

    async def run(self, is_current: Callable[[], bool]) -> int:
        """Return the position up to which everything was sent; at once where the subscription is left.

        The first event comes at once. PostgreSQL away is waited for.
        """
        cursor, end = self._subscription.sent, self._feed.last
        while cursor < end and is_current():
            page = await self._page(cursor, end)
            for entry, recorded in page:
                frame = self._subscription.frame_of(entry, replayed=True)
                if frame:
                    await self._wait_for(recorded)
                    if not is_current():
                        return cursor
                    await self._add(frame, entry.position)
                cursor = entry.position
            if len(page) < PAGE:
                cursor = end
            await self._flush()
        return cursor

    async def _page(self, after: int, upto: int) -> list[tuple[Entry, datetime]]:
        moments, source = self._sources.moments, self._subscription.source
        while True:
            try:
                return await moments.read_timed(self._feed.org_id, source, after=after, upto=upto, limit=PAGE)
            except HubError:
                await self._sources.clock.sleep(RETRY_SECONDS)

    async def _wait_for(self, recorded: datetime) -> None:
        """Return when an event that was recorded then is due; what is due already has been sent by then."""
        clock, pace = self._sources.clock, self._pace
        if self._before is not None:
            gap = (recorded - self._before).total_seconds() / pace.speed
            self._due += gap if pace.max_gap is None else min(gap, pace.max_gap)
        self._before = recorded
        now = clock.monotonic()
        self._due = max(self._due, now - MOST_LATE_SECONDS)
        if self._due > now:
            await self._flush()
            await clock.sleep(self._due - clock.monotonic())

    async def _add(self, frame: bytes, position: int) -> None:
        self._pending.append(frame)
        self._upto = position
        self._pending_size += len(frame)
        if self._pending_size >= CHUNK_BYTES:
            await self._flush()

    async def _flush(self) -> None:
        if self._pending:
            data = b"".join(self._pending)
            self._pending, self._pending_size = [], 0
            self._subscription.sent = self._upto
            self._sources.fanout.say(self._owner, data)
        await self._owner.outbound.drained()
