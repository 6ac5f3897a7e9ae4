"""What can be done with webhooks. A webhook's secret is in the answer that made it, and in that answer's repeats."""

from typing import Any
from uuid import UUID

import orjson

from core.errors import HubError
from core.events.subscriptions import store as subscriptions
from core.events.subscriptions.store import Change
from core.ids import new_id, parse_id
from core.operations.context import Context
from core.operations.operation import Operation, operation, operations_of
from core.operations.results import Deleted, Document, Page, Shown
from core.operations.validation import validated
from core.outbound import Outbound
from core.seal import Seal
from core.store.statements import Statements
from handlers.resources.etag import matches
from handlers.resources.models import DeleteInput, GetInput
from handlers.webhooks import store
from handlers.webhooks.models import (
    ChangeWebhook,
    ListWebhooks,
    NewWebhook,
    RotateWebhook,
    Tried,
    Webhook,
    WebhookChange,
    WebhookWithSecret,
)
from handlers.webhooks.rights import check_caller, check_url
from handlers.webhooks.secrets import make_secret, purpose_of
from handlers.webhooks.sender import Receiver, Sender, trial
from handlers.webhooks.store import SQL, missing

_READ, _WRITE = "read:webhooks", "write:webhooks"
# A test calls out while its caller waits.
_WEIGHT_OF_TEST = 5


class Webhooks:
    """The webhooks of the caller's organisation. No transaction is open while a name is looked up or a message sent."""

    def __init__(self, seal: Seal, outbound: Outbound, sender: Sender) -> None:
        self._seal = seal
        self._outbound = outbound
        self._sender = sender

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return operations_of(self)

    @operation("webhooks.list", scope=_READ, transaction="read", input=ListWebhooks, result=Page, shows=Webhook)
    async def list(self, ctx: Context, wanted: ListWebhooks) -> Page:
        """List webhooks, newest first, without their secrets."""
        check_caller(ctx.caller)
        first = (wanted.page - 1) * wanted.per_page
        found, total = await store.find_page(
            ctx.db, ctx.caller.org_id, limit=wanted.per_page, offset=first, status=wanted.status
        )
        return Page([each.text() for each in found], wanted.page, wanted.per_page, total)

    @operation("webhooks.get", scope=_READ, transaction="read", input=GetInput, result=Document, shows=Webhook)
    async def get(self, ctx: Context, wanted: GetInput) -> Document:
        """Get one webhook, without its secret."""
        check_caller(ctx.caller)
        found = await store.find(ctx.db, ctx.caller.org_id, parsed(wanted.id))
        return (found or missing()).document()

    @operation(
        "webhooks.create",
        scope=_WRITE,
        transaction="none",
        input=NewWebhook,
        result=Document,
        shows=WebhookWithSecret,
        holds_secret=True,
    )
    async def create(self, ctx: Context, new: NewWebhook) -> Document:
        """Make a webhook, which gets what happens from now on, or from its start; its secret is in this answer only."""
        check_caller(ctx.caller, sees_events=True)
        await check_url(self._outbound, new.url)
        id, secret = new_id(), make_secret()
        sealed = self._seal.seal(purpose_of(ctx.caller.org_id, id), secret)
        async with ctx.transaction() as db:
            made = await store.create(db, ctx.caller.org_id, id, new, sealed, ctx.now)
        return made.document(secret)

    @operation(
        "webhooks.update",
        scope=_WRITE,
        transaction="none",
        input=ChangeWebhook,
        result=Document,
        shows=Webhook,
        body=WebhookChange,
    )
    async def update(self, ctx: Context, change: ChangeWebhook) -> Document:
        """Change where a webhook leads, its events, its description or its rate; what is on its way is not held."""
        check_caller(ctx.caller, sees_events=True)
        fields = validated(WebhookChange, change.body)
        assert isinstance(fields, WebhookChange)  # noqa: S101 - tells the type checker what validated() made
        sent = fields.model_fields_set
        if "url" in sent:
            await check_url(self._outbound, fields.url)
        async with ctx.transaction() as db:
            held = await _held(ctx, db, change)
            if sent - {"events"}:
                await db.execute(
                    SQL["change"],
                    ctx.caller.org_id,
                    held.id,
                    fields.url if "url" in sent else None,
                    fields.description if "description" in sent else None,
                    fields.max_per_second,
                    "max_per_second" in sent,
                    ctx.now,
                )
            if "events" in sent:
                await subscriptions.change(db, ctx.caller.org_id, held.id, Change(types=fields.events), ctx.now)
            changed = await store.find(db, ctx.caller.org_id, held.id)
        return (changed or missing()).document()

    @operation("webhooks.delete", scope=_WRITE, transaction="write", input=DeleteInput, result=Deleted, repeatable=True)
    async def delete(self, ctx: Context, gone: DeleteInput) -> Deleted:
        """Delete a webhook, with its deliveries and their log; nothing more is sent."""
        check_caller(ctx.caller)
        held = await _held(ctx, ctx.db, gone)
        await subscriptions.remove(ctx.db, ctx.caller.org_id, held.id)
        return Deleted("webhooks", held.id, held.version)

    @operation(
        "webhooks.rotate",
        scope=_WRITE,
        transaction="write",
        input=RotateWebhook,
        result=Document,
        shows=WebhookWithSecret,
        holds_secret=True,
    )
    async def rotate(self, ctx: Context, wanted: RotateWebhook) -> Document:
        """Give a webhook a new secret, which is in this answer only; the one before signs beside it for the overlap."""
        check_caller(ctx.caller, sees_events=True)
        held = await _held(ctx, ctx.db, wanted)
        secret = make_secret()
        sealed = self._seal.seal(purpose_of(ctx.caller.org_id, held.id), secret)
        overlap = float(wanted.overlap_seconds)
        await ctx.db.execute(SQL["rotate"], ctx.caller.org_id, held.id, sealed, overlap, ctx.now)
        return (await store.find(ctx.db, ctx.caller.org_id, held.id) or missing()).document(secret)

    @operation("webhooks.pause", scope=_WRITE, transaction="write", input=DeleteInput, result=Document, shows=Webhook)
    async def pause(self, ctx: Context, wanted: DeleteInput) -> Document:
        """Send nothing until the webhook is enabled, and keep what comes meanwhile; what is on its way is not held."""
        check_caller(ctx.caller)
        held = await _held(ctx, ctx.db, wanted)
        if held.status == "active":
            await subscriptions.change(ctx.db, ctx.caller.org_id, held.id, Change(status="paused"), ctx.now)
        return (await store.find(ctx.db, ctx.caller.org_id, held.id) or missing()).document()

    @operation("webhooks.enable", scope=_WRITE, transaction="write", input=DeleteInput, result=Document, shows=Webhook)
    async def enable(self, ctx: Context, wanted: DeleteInput) -> Document:
        """Let a webhook go on that was disabled or paused, with all that came meanwhile."""
        check_caller(ctx.caller, sees_events=True)
        held = await _held(ctx, ctx.db, wanted)
        if held.status != "active":
            await ctx.db.execute(SQL["heal"], ctx.caller.org_id, held.id)
            await subscriptions.change(ctx.db, ctx.caller.org_id, held.id, Change(status="active"), ctx.now)
        return (await store.find(ctx.db, ctx.caller.org_id, held.id) or missing()).document()

    @operation(
        "webhooks.test",
        scope=_WRITE,
        transaction="none",
        input=GetInput,
        result=Shown,
        shows=Tried,
        weight=_WEIGHT_OF_TEST,
    )
    async def test(self, ctx: Context, wanted: GetInput) -> Shown:
        """Send a test message at once, whatever the webhook's status, and tell how that went; it is sent once."""
        check_caller(ctx.caller)
        id, event = parsed(wanted.id), new_id()
        async with ctx.transaction() as db:
            receiver = await receiver_of(db, self._seal, ctx.caller.org_id, id)
        sent = await self._sender.send(receiver, trial(event, id, ctx.now))
        told = Tried(
            event_id=event,
            outcome="delivered" if sent.verdict == "delivered" else "failed",
            status=sent.status,
            duration_ms=round(sent.seconds * 1000),
            answer=sent.answer,
        )
        return Shown(orjson.dumps(told.model_dump(mode="json")).decode())


async def receiver_of(db: Statements, seal: Seal, org_id: UUID, id: UUID) -> Receiver:
    """Return where a webhook's messages go; raises HubError RESOURCE_NOT_FOUND."""
    row = await db.fetchrow(SQL["target"], org_id, id, 0.0)
    return missing() if row is None else opened(row, seal, org_id, id)


def opened(row: Any, seal: Seal, org_id: UUID, id: UUID) -> Receiver:
    """Return a receiver out of a row of `target`."""
    sealed = [each for each in (row["secret"], row["old_secret"]) if each is not None]
    secrets = [seal.open(purpose_of(org_id, id), each) for each in sealed]
    return Receiver(row["url"], [each for each in secrets if each is not None])


def parsed(text: str) -> UUID:
    """Return the id of a webhook; raises HubError RESOURCE_NOT_FOUND for what is none."""
    return parse_id(text) or missing()


async def _held(ctx: Context, db: Statements, wanted: DeleteInput) -> store.Webhook:
    held = await store.hold(db, ctx.caller.org_id, parsed(wanted.id)) or missing()
    if wanted.if_match is not None and not matches(wanted.if_match, held.version):
        raise HubError("PRECONDITION_FAILED", f"The current version is {held.version}")
    return held
