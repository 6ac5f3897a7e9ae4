"""How all subscriptions of a hub are doing, for the metrics: asked now and then, so that who looks at these costs nothing."""

import contextlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from core.clock import Clock
from core.errors import HubError
from core.events.subscriptions.store import SQL
from core.store.database import Database

EVERY_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Totals:
    """Of all subscriptions of one way of delivery. `lag`, `worst_lag` and `oldest_seconds` are of those that are active.

    `oldest_seconds` is the age of the oldest event that is not acknowledged, or not looked at; 0 where there is none.
    """

    subscriptions: int = 0
    lag: int = 0
    worst_lag: int = 0
    outstanding: int = 0
    in_flight: int = 0
    dead_letters: int = 0
    oldest_seconds: float = 0.0


class SubscriptionFigures:
    """`by_way` is as of the last look, at most EVERY_SECONDS old while `run` runs. `system` is a pool of hub_system.

    `counts` is what consumers did at this node since its start, by what it was; who serves them counts there.
    """

    def __init__(self, system: Database, clock: Clock) -> None:
        self._system = system
        self._clock = clock
        self.by_way: Mapping[str, Totals] = {}
        self.counts: Counter[str] = Counter()

    async def run(self) -> None:
        """Look, until cancelled; while PostgreSQL is away the figures stay."""
        while True:
            with contextlib.suppress(HubError):
                await self.look()
            await self._clock.sleep(EVERY_SECONDS)

    async def look(self) -> None:
        """Look now. Raises HubError while PostgreSQL is away."""
        async with self._system.unbound() as db:
            rows = await db.fetch(SQL["totals"])
        found = {row["delivery"]: Totals(**{name: row[name] for name in Totals.__slots__}) for row in rows}
        # A way that has nothing left is 0, not missing.
        self.by_way = {way: Totals() for way in self.by_way} | found
