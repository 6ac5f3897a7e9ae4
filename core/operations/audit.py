"""The audit of what left no transaction: reads and refusals, written in batches off the request's path.

A write's audit row commits with the write (finish.sql). Here the trail is bounded, and what it loses is counted and logged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from core.ids import new_id
from core.store.database import Connection
from core.store.noted import Noted

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


class AuditTrail(Noted[Access]):
    """Collects accesses and writes them once a second."""

    name = "audit"

    async def write(self, db: Connection, batch: Sequence[Access]) -> None:
        """Write them; those of an organisation that is gone meanwhile are left out."""
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
        await db.execute(_INSERT, *(list(column) for column in columns))
