"""What is noted in passing, and written in batches off the way of whoever notes it: bounded, and what is lost is counted."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

import asyncpg
import structlog

from core.clock import Clock
from core.deadline import within
from core.store.database import Connection, connect_as

MOST_WAITING = 20_000
FLUSH_SECONDS = 1.0
# A PostgreSQL that hangs does not hold a node that stops.
CLOSE_SECONDS = 10.0

Entry = TypeVar("Entry")


class Noted(ABC, Generic[Entry]):
    """Collects entries and writes them once a second. `run()` works until cancelled; `flush()` writes what is left.

    `name` is what the log and PostgreSQL call it; `url` is logged into as hub_system, by one connection.
    """

    name: str

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._waiting: deque[Entry] = deque()
        self._connection: Connection | None = None
        self.lost = 0
        self._log = structlog.get_logger()

    @abstractmethod
    async def write(self, db: Connection, batch: Sequence[Entry]) -> None:
        """Write all of `batch` or, where it raises, nothing."""

    def note(self, entry: Entry) -> None:
        """Take an entry; when too many wait, the newest is lost and counted."""
        if len(self._waiting) >= MOST_WAITING:
            self.lost += 1
            return
        self._waiting.append(entry)

    async def run(self) -> None:
        """Write what waits, once a second; while PostgreSQL is away it waits."""
        reported = 0
        while True:
            await self._clock.sleep(FLUSH_SECONDS)
            await self.flush()
            if self.lost > reported:
                self._log.warning(f"{self.name}_entries_lost", lost=self.lost)
                reported = self.lost

    async def flush(self) -> None:
        """Write what waits; what cannot be written waits on."""
        batch = list(self._waiting)
        if not batch:
            return
        try:
            await self.write(await self._connected(), batch)
        except (
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,
            OSError,
            TimeoutError,
        ) as error:
            self._log.warning(f"{self.name}_cannot_write", error=type(error).__name__)
            self._drop()
            return
        for _ in batch:
            self._waiting.popleft()

    async def close(self) -> None:
        """Write what is left, if PostgreSQL takes it, and close the connection."""
        try:
            await within(self._clock, CLOSE_SECONDS, self.flush())
        except TimeoutError:
            self._log.warning(f"{self.name}_entries_lost", lost=len(self._waiting))
        self._drop()

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            application = f"aimatrix-hub {self.name}"
            self._connection = await connect_as(self._url, "hub_system", application_name=application)
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
