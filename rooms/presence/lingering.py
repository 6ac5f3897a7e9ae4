"""Connections that were lost, and may come back: they stay members for a grace, so that nobody sees a flicker."""

import asyncio
from collections.abc import Callable
from uuid import UUID

from core.clock import Clock

Key = tuple[UUID, str, str]


class Lingering:
    """Keeps lost connections for `grace` seconds, then calls `drop` with organisation, channel and connection. `run()` must run."""

    def __init__(self, clock: Clock, grace: float, drop: Callable[[UUID, str, str], None]) -> None:
        self._clock = clock
        self._grace = grace
        self._drop = drop
        # In the order of their ends.
        self._ends: dict[Key, tuple[float, str]] = {}
        self._by_subject: dict[Key, dict[str, None]] = {}
        self._some = asyncio.Event()

    def add(self, org_id: UUID, channel: str, subject: str, connection: str) -> None:
        """Keep a lost connection of `subject`."""
        if self._grace <= 0:
            self._drop(org_id, channel, connection)
            return
        self._ends[org_id, channel, connection] = (self._clock.monotonic() + self._grace, subject)
        self._by_subject.setdefault((org_id, channel, subject), {})[connection] = None
        self._some.set()

    def come_back(self, org_id: UUID, channel: str, subject: str) -> None:
        """Drop one of the subject's lost connections: another has taken its place."""
        lost = self._by_subject.get((org_id, channel, subject))
        if lost:
            self._end(org_id, channel, next(iter(lost)))

    async def run(self) -> None:
        """Drop whoever does not come back, until cancelled."""
        while True:
            await self._some.wait()
            while self._ends:
                (org_id, channel, connection), (end, _) = next(iter(self._ends.items()))
                left = end - self._clock.monotonic()
                if left > 0:
                    await self._clock.sleep(left)
                else:
                    self._end(org_id, channel, connection)
            self._some.clear()

    def _end(self, org_id: UUID, channel: str, connection: str) -> None:
        _, subject = self._ends.pop((org_id, channel, connection))
        lost = self._by_subject[org_id, channel, subject]
        del lost[connection]
        if not lost:
            del self._by_subject[org_id, channel, subject]
        self._drop(org_id, channel, connection)
