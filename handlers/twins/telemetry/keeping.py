"""How long telemetry is kept: partitions are made ahead, and dropped when they are over. Called by a job."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from core.clock import Clock
from core.errors import HubError
from core.store.database import Database
from handlers.twins.telemetry.storing import SQL

# A hub whose jobs have stood still for so long makes partitions when they are needed.
AHEAD_DAYS = 3


@dataclass(frozen=True, slots=True)
class Keeping:
    """Days for which points, and what they were in seconds, minutes and hours, are kept: sums no shorter than points."""

    points: int
    seconds: int
    minutes: int
    hours: int

    @property
    def by_table(self) -> Mapping[str, timedelta]:
        """How long each table is kept."""
        days = {
            "telemetry": self.points,
            "telemetry_seconds": self.seconds,
            "telemetry_minutes": self.minutes,
            "telemetry_hours": self.hours,
        }
        return {table: timedelta(days=max(self.points, some)) for table, some in days.items()}


async def make_ahead(system: Database, clock: Clock) -> int:
    """Make the partitions of the next days; returns how many. Raises HubError while PostgreSQL is away."""
    now = clock.now()
    async with system.unbound() as db:
        days = [now + timedelta(days=ahead) for ahead in range(AHEAD_DAYS + 1)]
        return await db.fetchval(SQL["make_partitions"], days)


async def drop_old(system: Database, clock: Clock, keeping: Keeping) -> int:
    """Drop the partitions that are over; returns how many. Those that are in use are left for the next time."""
    dropped = 0
    for table, age in keeping.by_table.items():
        while await _drop_one(system, table, clock, age):
            dropped += 1
    return dropped


async def _drop_one(system: Database, table: str, clock: Clock, age: timedelta) -> bool:
    try:
        async with system.unbound() as db:
            return bool(await db.fetchval(SQL["drop_partition"], table, clock.now() - age))
    except HubError as refused:
        if refused.code == "RESOURCE_LOCKED":
            return False
        raise
