"""Work that comes by itself: every so often, or by a cron expression in a time zone. Each time is a job of the hub's own.

A time that nobody was there for is made up for once, however many they were; and a time is skipped while the job of the last one
is still queued or running. Cron's rules and its ways when clocks are changed are Debian's, by cronsim: what is to run at a fixed
time runs once on each day, also where that time is skipped or comes twice.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from cronsim import CronSim

from core.clock import Clock
from core.ids import new_id
from core.jobs.jobs import SQL
from core.store.database import Connection


@dataclass(frozen=True, slots=True)
class Schedule:
    """Has a job of `kind` made `every` seconds, or by `cron` in `zone` (a name of the IANA database)."""

    name: str
    kind: str
    payload: Any = None
    every: float | None = None
    cron: str | None = None
    zone: str = "UTC"

    def __post_init__(self) -> None:
        if (self.every is None) == (self.cron is None):
            raise ValueError(f"{self.name} has either a time between or a cron expression")
        if self.every is not None and self.every <= 0:
            raise ValueError(f"{self.name} takes some time between")
        if self.cron is not None:
            self.next_after(datetime(2026, 1, 1, tzinfo=UTC))

    @property
    def rule(self) -> str:
        """When, as text: a schedule whose rule has changed begins anew."""
        return f"every {self.every:g} s" if self.every is not None else f"{self.cron} {self.zone}"

    def next_after(self, moment: datetime) -> datetime:
        """Return the first time after `moment` (UTC). Raises CronSimError, or ZoneInfoNotFoundError, where the rule is none."""
        if self.every is not None:
            return moment + timedelta(seconds=self.every)
        # UTC needs no files of time zones.
        zone: tzinfo = UTC if self.zone == "UTC" else ZoneInfo(self.zone)
        found: datetime = next(CronSim(self.cron or "", moment.astimezone(zone)))
        return found.astimezone(UTC)


class Schedules:
    """The schedules that this release has; of several processes one makes each job."""

    def __init__(self, schedules: Iterable[Schedule], clock: Clock) -> None:
        self._by_name = {schedule.name: schedule for schedule in schedules}
        self._clock = clock
        self._next: datetime | None = None
        self._looked_at: datetime | None = None

    async def declare(self, db: Connection) -> None:
        """Make the schedules known: a new `every` is due at once, a new cron at its next time."""
        now = self._clock.now()
        for schedule in self._by_name.values():
            first = now if schedule.every is not None else schedule.next_after(now)
            await db.execute(SQL["declare"], schedule.name, schedule.rule, first)
        self._next = self._looked_at = now

    async def fire(self, db: Connection) -> None:
        """Make the jobs that are due."""
        now = self._clock.now()
        if self._next is None or self._looked_at is None or not self._by_name:
            return
        if self._looked_at <= now < self._next:
            return
        self._looked_at = now
        async with db.transaction():
            for row in await db.fetch(SQL["due"], list(self._by_name), now):
                schedule = self._by_name[row["name"]]
                payload = orjson.dumps(schedule.payload).decode()
                key = f"schedule:{schedule.name}"
                job = await db.fetchval(SQL["insert"], new_id(), None, schedule.kind, key, payload, 0, now, None, now)
                await db.execute(SQL["fired"], schedule.name, schedule.next_after(now), now, job)
        self._next = await db.fetchval(SQL["next"], list(self._by_name))
