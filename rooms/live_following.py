"""Reading a live room inside the process: what a request waits for, or hands on. Read, not handed over: who is slow costs nothing.

async with rooms.follow(org_id, channel, mark) as entries:
    async for entry in entries: ...
"""

from typing import Self

from rooms.live_feed import LiveFeed, Reason
from rooms.live_recovery import LiveRecovery, Place
from rooms.live_wire import LiveEntry
from rooms.recovery import Bookmark


class RoomReset(Exception):
    """What follows the last entry is missing: begin anew. `reason` is that of a `reset` frame."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"The room was reset: {reason}")
        self.reason: Reason = reason


class Following:
    """The entries of a room after a place: in order, each once, without an end. One reader at a time.

    Raises RoomReset where some are missing. Redis away is waited for.
    """

    def __init__(self, recovery: LiveRecovery, feed: LiveFeed, channel: str, place: Place) -> None:
        self._recovery = recovery
        self._feed = feed
        self._channel = channel
        self._place = place
        self._ready: list[LiveEntry] = []  # the next one last
        self._begin = Bookmark(place.after, place.epoch)
        self._last: LiveEntry | None = None

    @property
    def mark(self) -> Bookmark:
        """After what the next entry follows: that of the last one, or where the reading began."""
        if self._last is None:
            return self._begin
        return Bookmark(self._last.position, self._last.epoch or self._place.epoch)

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> LiveEntry:
        """Return the next entry, waiting for it; may be cancelled, and asked again."""
        if not self._ready:
            self._place, entries = await self._recovery.next_page(self._feed, self._channel, self._place)
            if self._place.reset is not None:
                raise RoomReset(self._place.reset)
            self._ready = entries[::-1]
        self._last = self._ready.pop()
        return self._last
