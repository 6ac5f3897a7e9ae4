"""How many jobs wait and run, for the metrics: asked now and then, so that nobody who looks at them costs PostgreSQL anything."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

from core.clock import Clock
from core.errors import HubError
from core.jobs.jobs import SQL
from core.store.database import Database

EVERY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one kind: how many are queued and running on all workers, and for how many seconds the oldest has been due."""

    queued: int
    running: int
    oldest_seconds: float


class JobFigures:
    """`by_kind` is as of the last look, at most EVERY_SECONDS old while `run` runs. `system` is a pool of hub_system."""

    def __init__(self, system: Database, clock: Clock) -> None:
        self._system = system
        self._clock = clock
        self.by_kind: Mapping[str, Figures] = {}

    async def run(self) -> None:
        """Look, until cancelled; while PostgreSQL is away the figures stay."""
        while True:
            with contextlib.suppress(HubError):
                await self.look()
            await self._clock.sleep(EVERY_SECONDS)

    async def look(self) -> None:
        """Look now. Raises HubError while PostgreSQL is away."""
        now = self._clock.now()
        async with self._system.unbound() as db:
            rows = await db.fetch(SQL["figures"], now)
        found = {
            row["kind"]: Figures(
                row["queued"], row["running"], (now - row["oldest"]).total_seconds() if row["oldest"] else 0.0
            )
            for row in rows
        }
        # A kind that has nothing left is 0, not missing.
        self.by_kind = {kind: Figures(0, 0, 0.0) for kind in self.by_kind} | found
