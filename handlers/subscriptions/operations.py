"""What can be done with subscriptions themselves. Those of webhooks are shown here, and changed there."""

from typing import Any

import orjson

from core.clock import rfc3339
from core.errors import HubError
from core.events.subscriptions import store
from core.events.subscriptions import subscription as core
from core.events.subscriptions.store import Change, Figures
from core.ids import new_id
from core.operations.context import Context
from core.operations.operation import Operation, operation, operations_of
from core.operations.results import Deleted, Document, Page
from core.operations.validation import validated
from handlers.resources.etag import matches
from handlers.resources.models import DeleteInput, GetInput
from handlers.subscriptions.models import (
    ChangeSubscription,
    ListSubscriptions,
    NewSubscription,
    Subscription,
    SubscriptionChange,
    SubscriptionNow,
)
from handlers.subscriptions.rights import check_caller, found, held
from handlers.subscriptions.start import cursor_of

_READ, _WRITE = "read:subscriptions", "write:subscriptions"


class Subscriptions:
    """The subscriptions of the caller's organisation."""

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return operations_of(self)

    @operation(
        "subscriptions.list", scope=_READ, transaction="read", input=ListSubscriptions, result=Page, shows=Subscription
    )
    async def list(self, ctx: Context, wanted: ListSubscriptions) -> Page:
        """List subscriptions, newest first."""
        check_caller(ctx.caller)
        page, total = await store.find_page(
            ctx.db,
            ctx.caller.org_id,
            limit=wanted.per_page,
            offset=(wanted.page - 1) * wanted.per_page,
            status=wanted.status,
            delivery=wanted.delivery,
        )
        return Page([_text(each) for each in page], wanted.page, wanted.per_page, total)

    @operation(
        "subscriptions.get", scope=_READ, transaction="read", input=GetInput, result=Document, shows=SubscriptionNow
    )
    async def get(self, ctx: Context, wanted: GetInput) -> Document:
        """Get a subscription, and how it is doing."""
        check_caller(ctx.caller)
        subscription = await found(ctx, wanted.id)
        return _document(subscription, await store.figures(ctx.db, ctx.caller.org_id, subscription.id))

    @operation(
        "subscriptions.create",
        scope=_WRITE,
        transaction="write",
        input=NewSubscription,
        result=Document,
        shows=Subscription,
    )
    async def create(self, ctx: Context, new: NewSubscription) -> Document:
        """Make a subscription; events are kept for it from its start on."""
        check_caller(ctx.caller, sees_events=True)
        wanted = core.NewSubscription(
            id=new_id(),
            name=new.name,
            delivery=new.delivery,
            types=new.types,
            subjects=new.subjects,
            ordered=new.ordered,
            max_in_flight=new.max_in_flight,
            ack_seconds=new.ack_seconds,
            delays=new.backoff.delays(),
            max_deliveries=new.max_deliveries,
        )
        cursor = await cursor_of(ctx.db, ctx.caller.org_id, new.start)
        return _document(await store.create(ctx.db, ctx.caller.org_id, wanted, ctx.now, cursor))

    @operation(
        "subscriptions.update",
        scope=_WRITE,
        transaction="write",
        input=ChangeSubscription,
        result=Document,
        shows=Subscription,
        body=SubscriptionChange,
    )
    async def update(self, ctx: Context, change: ChangeSubscription) -> Document:
        """Change a subscription; what was handed out already stays as it was."""
        check_caller(ctx.caller, sees_events=True)
        wanted = validated(SubscriptionChange, change.body)
        before = await self._hold(ctx, change)
        fields = {name: getattr(wanted, name) for name in wanted.model_fields_set - {"backoff"}}
        if "backoff" in wanted.model_fields_set and isinstance(wanted, SubscriptionChange):
            fields["delays"] = wanted.backoff.delays()
        return _document(await store.change(ctx.db, ctx.caller.org_id, before.id, Change(**fields), ctx.now))

    @operation(
        "subscriptions.delete", scope=_WRITE, transaction="write", input=DeleteInput, result=Deleted, repeatable=True
    )
    async def delete(self, ctx: Context, gone: DeleteInput) -> Deleted:
        """Delete a subscription with all that is outstanding, and its dead letters."""
        check_caller(ctx.caller)
        before = await self._hold(ctx, gone)
        await store.remove(ctx.db, ctx.caller.org_id, before.id)
        return Deleted("subscriptions", before.id, before.version)

    @operation(
        "subscriptions.pause", scope=_WRITE, transaction="write", input=DeleteInput, result=Document, shows=Subscription
    )
    async def pause(self, ctx: Context, wanted: DeleteInput) -> Document:
        """Hand nothing out until it is resumed; what is out can be answered, and events are kept."""
        return await self._set_status(ctx, wanted, "paused")

    @operation(
        "subscriptions.resume",
        scope=_WRITE,
        transaction="write",
        input=DeleteInput,
        result=Document,
        shows=Subscription,
    )
    async def resume(self, ctx: Context, wanted: DeleteInput) -> Document:
        """Go on where it was paused."""
        return await self._set_status(ctx, wanted, "active")

    async def _set_status(self, ctx: Context, wanted: DeleteInput, status: core.Status) -> Document:
        check_caller(ctx.caller)
        before = await self._hold(ctx, wanted)
        if before.status == status:
            return _document(before)
        return _document(await store.change(ctx.db, ctx.caller.org_id, before.id, Change(status=status), ctx.now))

    async def _hold(self, ctx: Context, wanted: DeleteInput) -> core.Subscription:
        before = await held(ctx, wanted.id)
        if wanted.if_match is not None and not matches(wanted.if_match, before.version):
            raise HubError("PRECONDITION_FAILED", f"The current version is {before.version}")
        if before.delivery == "push":
            raise HubError("RESOURCE_CONFLICT", "This subscription is a webhook's: change the webhook")
        return before


def _document(subscription: core.Subscription, figures: Figures | None = None) -> Document:
    text = _text(subscription, figures)
    return Document("subscriptions", subscription.id, subscription.version, subscription.updated_at, text)


def _text(subscription: core.Subscription, figures: Figures | None = None) -> str:
    body: dict[str, Any] = {
        "id": str(subscription.id),
        "name": subscription.name,
        "delivery": subscription.delivery,
        "types": subscription.types,
        "subjects": subscription.subjects,
        "status": subscription.status,
        "status_reason": subscription.status_reason,
        "position": str(subscription.cursor),
        "ordered": subscription.ordered,
        "max_in_flight": subscription.max_in_flight,
        "ack_seconds": int(subscription.ack_seconds),
        "backoff": {"first_seconds": subscription.delays[0], "most_seconds": max(subscription.delays)},
        "max_deliveries": subscription.max_deliveries,
        "created_at": rfc3339(subscription.created_at),
        "updated_at": rfc3339(subscription.updated_at),
        "version": subscription.version,
    }
    if figures is not None:
        body |= {
            "lag": figures.lag,
            "outstanding": figures.outstanding,
            "in_flight": figures.in_flight,
            "oldest_unacknowledged_seconds": figures.oldest_seconds,
            "dead_letters": figures.dead_letters,
        }
    return orjson.dumps(body).decode()
