"""A log with events, subscriptions to it, and time that passes by making rows older."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from core.clock import SystemClock
from core.events.subscriptions import store
from core.events.subscriptions.consumer import Consumer
from core.events.subscriptions.subscription import NewSubscription, Subscription
from core.ids import new_id
from core.store.database import Database, connect_as
from tests.harness.organisations import Organisation

# What the relay writes: positions behind the head, and the head with them.
_APPEND = """
WITH head AS (
    UPDATE heads SET position = position + cardinality($2::text[]), published = position + cardinality($2::text[]),
        recorded_at = clock_timestamp()
    WHERE org_id = $1 RETURNING position - cardinality($2::text[]) AS before
)
INSERT INTO events (org_id, position, event_id, type, subject, channel, time, recorded_at, envelope)
SELECT $1, head.before + e.place, e.id, e.type, e.subject, replace(e.subject, '/', ':'), clock_timestamp(), clock_timestamp(),
    '{"id":"' || e.id || '","data":' || e.place || '}'
FROM head, unnest($3::uuid[], $2::text[], $4::text[]) WITH ORDINALITY AS e (id, type, subject, place)
RETURNING position
"""


@dataclass
class Trial:
    """One organisation with its log, as requests reach it, and a consumer of it."""

    url: str
    database: Database
    organisation: Organisation
    consumer: Consumer
    pokes: list[int]

    @classmethod
    def of(cls, url: str, database: Database, organisation: Organisation) -> "Trial":
        pokes: list[int] = []
        consumer = Consumer(database, SystemClock(), lambda: pokes.append(1))
        return cls(url, database, organisation, consumer, pokes)

    @property
    def org_id(self) -> UUID:
        return self.organisation.id

    async def append(self, *subjects: str, type: str = "agent.updated") -> list[int]:
        """Put an event for each subject behind the log; returns their positions."""
        ids = [new_id() for _ in subjects]
        rows = await self.rows(_APPEND, self.org_id, [type] * len(subjects), ids, list(subjects))
        return sorted(row["position"] for row in rows)

    async def subscribe(
        self, cursor: int | None = None, *, types: Sequence[str] = ("*",), **fields: Any
    ) -> Subscription:
        given: dict[str, Any] = {"id": new_id(), "name": str(new_id()), "delivery": "pull", "types": types, **fields}
        new = NewSubscription(**given)
        async with self.database.read(self.org_id) as db:
            return await store.create(db, self.org_id, new, SystemClock().now(), cursor)

    async def figures(self, id: UUID) -> store.Figures:
        async with self.database.read(self.org_id) as db:
            return await store.figures(db, self.org_id, id)

    async def found(self, id: UUID) -> Subscription | None:
        async with self.database.read(self.org_id) as db:
            return await store.find(db, self.org_id, id)

    async def pass_time(self, seconds: float) -> None:
        """Let what is due, leased or paced be so many seconds older."""
        await self.rows(
            "UPDATE deliveries SET due_at = due_at - make_interval(secs => $1), leased_at = leased_at - make_interval(secs => $1)",
            seconds,
        )
        await self.rows("UPDATE replays SET paced_at = paced_at - make_interval(secs => $1)", seconds)

    async def rows(self, query: str, *args: object) -> list[Any]:
        connection = await connect_as(self.url, "hub_owner")
        try:
            return await connection.fetch(query, *args)
        finally:
            await connection.close()
