"""Joining a live room that has a beginning (rooms/beginnings.py): the order of the looks that leaves nothing out.

    the carrier is here, confirmed -> where it is -> what was said so far, as read after that -> what follows

Where what was said names its place, events follow after that; else after where the carrier was before it was read. A place that the
room does not have any more was written before Redis lost something: whoever writes says so, and keeps a new one within a second.
Where that does not come, nothing is said, or it was said after the first look: what follows is what came since.
Many who join one room at once are answered by one look.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from uuid import UUID

from core.auth.caller import Caller
from core.auth.flights import Flights
from core.clock import Clock
from core.events.event import namespace_of
from rooms.beginnings import Beginnings
from rooms.live import LiveRooms
from rooms.live_feed import LiveFeed
from rooms.live_following import Following
from rooms.live_recovery import Place
from rooms.recovery import Bookmark

# How long a writer may take to keep what it has said, a second and some for PostgreSQL: all that was said before is kept then.
PATIENCE_SECONDS = 2.5
FIRST_DELAY_SECONDS, MOST_DELAY_SECONDS = 0.02, 0.25

# Who may see the same: a caller's organisation, the channel, and what it is restricted to.
_Key = tuple[UUID, str, frozenset[UUID] | None]


@dataclass(frozen=True, slots=True)
class _Opening:
    envelope: str | None
    mark: Bookmark


class Openings:
    """One of a node."""

    def __init__(self, rooms: LiveRooms, beginnings: Beginnings, clock: Clock) -> None:
        self._rooms = rooms
        self._beginnings = beginnings
        self._clock = clock
        self._looks: Flights[_Key, _Opening] = Flights(clock)

    def covers(self, channel: str) -> bool:
        """Tell whether the room has a beginning."""
        return self._beginnings.covers(namespace_of(channel))

    async def check(self, caller: Caller, channel: str) -> None:
        """Return where `caller` may know of the room; raises HubError CHANNEL_NOT_FOUND, and where that cannot be known."""
        await self._beginnings.find(caller, channel)

    async def open(self, feed: LiveFeed, caller: Caller, channel: str, mark: Bookmark) -> tuple[Place, str | None]:
        """Return where a subscription starts, and the event that comes before what follows, if there is one.

        A bookmark that can be honoured needs none. Raises HubError CHANNEL_NOT_FOUND where there is no such room for `caller`, and
        SERVICE_UNAVAILABLE.
        """
        asked = await self._rooms.recovery.place(feed, channel, mark)
        while True:
            found = await self._look(feed, caller, channel)
            if asked.recovered and asked.life == feed.life:
                return asked, None
            place = await self._rooms.recovery.place(feed, channel, found.mark)
            if place.reset is None:  # else the room was lost after the look
                return replace(place, recovered=False, reset=asked.reset), found.envelope

    @asynccontextmanager
    async def following(self, caller: Caller, channel: str) -> AsyncGenerator[tuple[str | None, Following]]:
        """Give what was said so far, and what follows, to a reader of this process. Raises as `open`; see LiveRooms.follow."""
        feed = await self._rooms.acquire(caller.org_id, channel)
        try:
            place, envelope = await self.open(feed, caller, channel, Bookmark())
            yield envelope, Following(self._rooms.recovery, feed, channel, place)
        finally:
            self._rooms.release(caller.org_id, channel)

    async def close(self) -> None:
        """End what is being read."""
        await self._looks.close()

    async def _look(self, feed: LiveFeed, caller: Caller, channel: str) -> _Opening:
        key = (caller.org_id, channel, caller.resource_ids)
        return await self._looks.join(key, lambda: self._read(feed, caller, channel))

    async def _read(self, feed: LiveFeed, caller: Caller, channel: str) -> _Opening:
        life, delay = -1, FIRST_DELAY_SECONDS
        here, until = Bookmark(), 0.0
        while True:
            # Before it is read: what is published from here on follows.
            now = Bookmark(feed.last, feed.epoch)
            if feed.life != life:
                life, here = feed.life, now
                until = self._clock.monotonic() + PATIENCE_SECONDS
            found = await self._beginnings.find(caller, channel)
            if found.mark.offset is None:
                return _Opening(found.envelope, now)
            place = await self._rooms.recovery.place(feed, channel, found.mark)
            if place.reset is None:
                return _Opening(found.envelope, found.mark)
            if self._clock.monotonic() >= until:
                return _Opening(found.envelope, here)
            await self._clock.sleep(delay)
            delay = min(2 * delay, MOST_DELAY_SECONDS)
