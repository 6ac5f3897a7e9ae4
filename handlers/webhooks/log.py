"""The log of a webhook's deliveries: every attempt, and one more where somebody asks for it."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from core.clock import rfc3339
from core.errors import HubError
from core.operations.context import Context
from core.operations.operation import Operation, operation, operations_of
from core.operations.results import Page, Shown
from handlers.lists.lister import MOST_COUNTED, page_of
from handlers.webhooks import store
from handlers.webhooks.models import Delivery, ListDeliveries, Resend, Resent
from handlers.webhooks.operations import parsed
from handlers.webhooks.rights import check_caller
from handlers.webhooks.store import SQL, missing


class Deliveries:
    """What was and is sent to the caller's organisation's webhooks."""

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return operations_of(self)

    @operation(
        "webhook_deliveries.list",
        touches="webhooks",
        scope="read:webhooks",
        transaction="read",
        input=ListDeliveries,
        result=Page,
        shows=Delivery,
    )
    async def list(self, ctx: Context, wanted: ListDeliveries) -> Page:
        """List the deliveries of a webhook, outstanding, delivered or given up, newest first, with every attempt."""
        check_caller(ctx.caller)
        org_id, id = ctx.caller.org_id, parsed(wanted.id)
        if await store.find(ctx.db, org_id, id) is None:
            missing()
        first = (wanted.page - 1) * wanted.per_page
        rows = await ctx.db.fetch(
            SQL["deliveries"], org_id, id, wanted.per_page, first, wanted.status, MOST_COUNTED + 1
        )
        found = [row for row in rows if row["delivery"] is not None]
        attempts: dict[int, list[Any]] = {row["delivery"]: [] for row in found}
        for row in await ctx.db.fetch(SQL["attempts"], org_id, id, list(attempts)):
            attempts[row["delivery"]].append(_attempt(row))
        items = [_text(row, attempts[row["delivery"]]) for row in found]
        total = rows[0]["total"]
        return page_of(items, wanted.page, wanted.per_page, total)

    @operation(
        "webhook_deliveries.resend",
        touches="webhooks",
        scope="write:webhooks",
        transaction="write",
        input=Resend,
        result=Shown,
        shows=Resent,
    )
    async def resend(self, ctx: Context, wanted: Resend) -> Shown:
        """Deliver an event once more, under the same webhook-id, whatever became of it before."""
        check_caller(ctx.caller)
        org_id, id = ctx.caller.org_id, parsed(wanted.id)
        if await store.hold(ctx.db, org_id, id) is None:
            missing()
        number = _number(wanted.delivery)
        row = None if number is None else await ctx.db.fetchrow(SQL["resend"], org_id, id, number)
        if row is None:
            raise HubError("RESOURCE_NOT_FOUND", "The webhook has no such delivery, or it is forgotten by now")
        return Shown(orjson.dumps({"delivery_id": str(row["id"]), "event_id": str(row["event_id"])}).decode())


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def _attempt(row: Any) -> Mapping[str, Any]:
    return {
        "number": row["number"],
        "time": rfc3339(row["started_at"]),
        "duration_ms": round(row["seconds"] * 1000),
        "outcome": row["outcome"],
        "status": row["status"],
        "answer": row["answer"],
    }


def _text(row: Any, attempts: Sequence[Any]) -> str:
    told = {
        "id": str(row["delivery"]),
        "event_id": str(row["event_id"]),
        "type": row["type"],
        "subject": row["subject"],
        "position": str(row["position"]),
        "status": row["status"],
        "next_attempt_at": None if row["due_at"] is None else rfc3339(row["due_at"]),
        "attempts": attempts,
    }
    return orjson.dumps(told).decode()
