"""A small table that every node keeps in memory: read whole at first, then what has changed in it.

Whoever has changed a row wakes the others (hub/pokes.py); each looks by itself every second too, so a lost word costs no more than
that. A row says when it was written, by PostgreSQL's clock and before its commit: what is read again reaches back further than any
transaction takes. Once a minute all is read, which finds rows that have gone with their organisation.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog

from core.clock import Clock
from core.deadline import ended_within
from core.errors import HubError
from core.store.database import Database

LOOK_SECONDS = 1.0
WHOLE_SECONDS = 60.0
# A transaction ends within 30 s (core/store/database.py).
OVERLAP = timedelta(seconds=90)


class Followed(ABC):
    """One table. `load()` before anything is served, then `run()`; `poke()` says that there is something new.

    `query` takes the moment since when rows are wanted, and gives them beside `asked_at`; without a row that stands alone.
    """

    name: str
    query: str
    # Others are to be told too.
    holds_all = False

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._poked = asyncio.Event()
        self._since: datetime | None = None
        self._whole_at = 0.0
        self._is_failing = False

    @abstractmethod
    def take(self, rows: Sequence[Any], *, is_whole: bool) -> None:
        """Take rows, many of them known; where `is_whole`, there are no others."""

    def tick(self) -> None:
        """See what time has brought; called once a second at least."""
        return

    def poke(self) -> None:
        """Look soon."""
        self._poked.set()

    async def load(self) -> None:
        """Read what there is. Raises HubError SERVICE_UNAVAILABLE while PostgreSQL is away."""
        now = self._clock.monotonic()
        is_whole = self._since is None or now >= self._whole_at
        since = None if is_whole else self._since
        async with self._database.unbound() as db:
            rows = await db.fetch(self.query, since)
        self._since = rows[0]["asked_at"] - OVERLAP
        if is_whole:
            self._whole_at = now + WHOLE_SECONDS
        self.take([row for row in rows if row["org_id"] is not None], is_whole=is_whole)

    async def run(self) -> None:
        """Follow until cancelled; while PostgreSQL is away, what is known goes on."""
        while True:
            poked = asyncio.ensure_future(self._poked.wait())
            try:
                await ended_within(self._clock, LOOK_SECONDS, poked)
            finally:
                poked.cancel()
            self._poked.clear()
            self.tick()
            await self._look()

    async def _look(self) -> None:
        try:
            await self.load()
        except HubError as error:
            if not self._is_failing:
                structlog.get_logger().warning("table_not_followed", table=self.name, code=error.code)
            self._is_failing = True
        else:
            self._is_failing = False
