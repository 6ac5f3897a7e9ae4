"""The reaper of a node: removes what dead nodes have left, beside the beats, so that these come in time however much that is."""

import asyncio
from collections.abc import Callable, Iterable
from uuid import UUID

from rooms.presence.counts import PresenceCounts
from rooms.presence.store import Dead, PresenceStore

# Incarnations of one step; each has MOST_REAPED connections removed in it.
AT_ONCE = 16


class Reaper:
    """Removes who is added; `tell_later` is called with organisation and channel where something is still to be told.

    What a step does not get done is not tried again: the next beat finds it.
    """

    def __init__(self, store: PresenceStore, counts: PresenceCounts, tell_later: Callable[[UUID, str], None]) -> None:
        self._store = store
        self._counts = counts
        self._tell_later = tell_later
        self._dead: dict[Dead, None] = {}
        self._some = asyncio.Event()

    def add(self, dead: Iterable[Dead]) -> None:
        """Have these removed."""
        self._dead |= dict.fromkeys(dead)
        if self._dead:
            self._some.set()

    async def run(self) -> None:
        """Remove until cancelled."""
        while True:
            await self._some.wait()
            self._some.clear()
            while self._dead:
                await self._step()

    async def _step(self) -> None:
        some = list(self._dead)[:AT_ONCE]
        reaped = await self._store.remove(some)
        for each in some:
            del self._dead[each]
        if reaped.is_done:  # else it would be tried without a pause
            self.add(reaped.more)
        self._counts.reaped += reaped.removed
        for place in reaped.untold:
            self._tell_later(*place)
