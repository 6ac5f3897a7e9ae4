"""The audit of what left no transaction: reads and refusals, written in batches off the request's path.

A write's audit row commits with the write (finish.sql). Here the trail is bounded, and what it loses is counted and logged.
"""

from collections import deque
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg
import structlog

from core.clock import Clock
from core.deadline import within
from core.ids import new_id
from core.store.database import Connection, connect_as

MOST_WAITING = 20_000
FLUSH_SECONDS = 1.0
# A PostgreSQL that hangs does not hold a node that stops.
CLOSE_SECONDS = 10.0
_INSERT = """
INSERT INTO audit (id, org_id, time, caller, operation, target, request_id, outcome)
SELECT row.* FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
    AS row (id, org_id, time, caller, operation, target, request_id, outcome)
JOIN organisations ON organisations.id = row.org_id
"""


@dataclass(frozen=True, slots=True)
class Access:
    """One access to note; `outcome` is `ok` or an error's code."""

    org_id: UUID
    time: datetime
    caller: str
    operation: str
    target: str | None
    request_id: str
    outcome: str


class AuditTrail:
    """Collects accesses and writes them once a second. `run()` works until cancelled; `flush()` writes what is left."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._waiting: deque[Access] = deque()
        self._connection: Connection | None = None
        self.lost = 0
        self._log = structlog.get_logger()

    def note(self, access: Access) -> None:
        """Take an access; when too many wait, the newest is lost and counted."""
        if len(self._waiting) >= MOST_WAITING:
            self.lost += 1
            return
        self._waiting.append(access)

    async def run(self) -> None:
        """Write what waits, once a second; while PostgreSQL is away it waits."""
        reported = 0
        while True:
            await self._clock.sleep(FLUSH_SECONDS)
            await self.flush()
            if self.lost > reported:
                self._log.warning("audit_entries_lost", lost=self.lost)
                reported = self.lost

    async def flush(self) -> None:
        """Write what waits; what cannot be written waits on."""
        batch = list(self._waiting)
        if not batch:
            return
        try:
            await self._write(batch)
        except (
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,
            OSError,
            TimeoutError,
        ) as error:
            self._log.warning("audit_cannot_write", error=type(error).__name__)
            self._drop()
            return
        for _ in batch:
            self._waiting.popleft()

    async def close(self) -> None:
        """Write what is left, if PostgreSQL takes it, and close the connection."""
        try:
            await within(self._clock, CLOSE_SECONDS, self.flush())
        except TimeoutError:
            self._log.warning("audit_entries_lost", lost=len(self._waiting))
        self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _write(self, batch: list[Access]) -> None:
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect_as(self._url, "hub_system", application_name="aimatrix-hub audit")
        columns = zip(
            *(
                (
                    new_id(),
                    item.org_id,
                    item.time,
                    item.caller,
                    item.operation,
                    item.target,
                    item.request_id,
                    item.outcome,
                )
                for item in batch
            ),
            strict=True,
        )
        await self._connection.execute(_INSERT, *(list(column) for column in columns))
