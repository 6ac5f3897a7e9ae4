"""Webhooks as rows: read, written, and told to clients."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID

import orjson

from core.clock import rfc3339
from core.errors import HubError
from core.events.subscriptions import store as subscriptions
from core.events.subscriptions.subscription import NewSubscription
from core.operations.results import Document
from core.store.queries import load_queries
from core.store.statements import Statements
from handlers.subscriptions.start import cursor_of
from handlers.webhooks.circuit import MOST_AT_ONCE
from handlers.webhooks.models import NewWebhook
from handlers.webhooks.policy import DELAYS, LEASE_SECONDS, MOST_ATTEMPTS

# Over all nodes: each sends at most MOST_AT_ONCE, and has as much again of which the answers are being noted.
MOST_LEASED = 4 * MOST_AT_ONCE
SQL: Mapping[str, str] = load_queries(Path(__file__).with_name("queries.sql"))


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook as it is kept; `version` counts its changes and its subscription's."""

    id: UUID
    version: int
    url: str
    events: tuple[str, ...]
    description: str
    max_per_second: float | None
    ordered: bool
    status: str
    status_reason: str | None
    failing_since: datetime | None
    old_until: datetime | None
    created_at: datetime
    updated_at: datetime

    def document(self, secret: str | None = None) -> Document:
        """Return it as it is answered, with its secret where that is to be told."""
        return Document("webhooks", self.id, self.version, self.updated_at, self.text(secret))

    def text(self, secret: str | None = None) -> str:
        """Return its JSON text."""
        body: dict[str, Any] = {"id": str(self.id)}
        if secret is not None:
            body["secret"] = secret
        body |= {
            "url": self.url,
            "events": self.events,
            "description": self.description,
            "max_per_second": self.max_per_second,
            "ordered": self.ordered,
            "status": self.status,
            "status_reason": self.status_reason,
            "failing_since": _moment(self.failing_since),
            "old_secret_until": _moment(self.old_until),
            "created_at": rfc3339(self.created_at),
            "updated_at": rfc3339(self.updated_at),
            "version": self.version,
        }
        return orjson.dumps(body).decode()


async def create(db: Statements, org_id: UUID, id: UUID, new: NewWebhook, sealed: str, now: datetime) -> Webhook:
    """Make a webhook that begins where it is to."""
    pushed = NewSubscription(
        id=id,
        name=f"webhook:{id}",
        delivery="push",
        types=new.events,
        ordered=new.ordered,
        max_in_flight=MOST_LEASED,
        ack_seconds=LEASE_SECONDS,
        delays=DELAYS,
        max_deliveries=MOST_ATTEMPTS,
        target=id,
    )
    await subscriptions.create(db, org_id, pushed, now, await cursor_of(db, org_id, new.start))
    await db.execute(SQL["insert"], org_id, id, new.url, new.description, new.max_per_second, sealed, now)
    return await find(db, org_id, id) or missing()


async def find(db: Statements, org_id: UUID, id: UUID) -> Webhook | None:
    """Return a webhook, None where there is none."""
    row = await db.fetchrow(SQL["find"], org_id, id)
    return None if row is None else _webhook(row)


async def hold(db: Statements, org_id: UUID, id: UUID) -> Webhook | None:
    """Return a webhook and keep it for the length of the transaction: nothing of it is handed out meanwhile."""
    if await subscriptions.hold(db, org_id, id) is None:
        return None
    return await find(db, org_id, id)


async def find_page(
    db: Statements, org_id: UUID, *, limit: int, offset: int, status: str | None
) -> tuple[list[Webhook], int]:
    """Return a page of the organisation's webhooks, newest first, and how many there are."""
    rows = await db.fetch(SQL["list"], org_id, limit, offset, status)
    return [_webhook(row) for row in rows if row["id"] is not None], rows[0]["total"]


def missing() -> NoReturn:
    """Raise HubError RESOURCE_NOT_FOUND."""
    raise HubError("RESOURCE_NOT_FOUND", "There is no webhook with this id")


def _webhook(row: Any) -> Webhook:
    fields: dict[str, Any] = {name: row[name] for name in Webhook.__slots__}
    fields["events"] = tuple(row["events"])
    return Webhook(**fields)


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)
