"""Who may have to do with subscriptions: they are of the whole organisation, and what they hand out are events."""

from typing import NoReturn
from uuid import UUID

from core.auth.caller import Caller
from core.errors import HubError
from core.events.subscriptions import store
from core.events.subscriptions.subscription import Subscription
from core.ids import parse_id
from core.operations.context import Context


def check_caller(caller: Caller, *, sees_events: bool = False) -> None:
    """Return where the caller may; raises HubError FORBIDDEN where it is for some resources only, else INSUFFICIENT_SCOPE.

    Who decides which events are handed out, or gets them, has `read:events` too.
    """
    if caller.resource_ids is not None:
        raise HubError(
            "FORBIDDEN", "This credential is for some resources only; subscriptions are of the whole organisation"
        )
    if sees_events and not caller.has("read:events"):
        raise HubError("INSUFFICIENT_SCOPE", "This needs the scope read:events too")


async def found(ctx: Context, text: str) -> Subscription:
    """Return the subscription of this id; raises HubError RESOURCE_NOT_FOUND."""
    id = parse_id(text)
    subscription = None if id is None else await store.find(ctx.db, ctx.caller.org_id, id)
    return subscription or missing()


async def held(ctx: Context, text: str) -> Subscription:
    """Return the same with its row held for the length of the transaction."""
    id = parse_id(text)
    subscription = None if id is None else await store.hold(ctx.db, ctx.caller.org_id, id)
    return subscription or missing()


def parsed(text: str) -> UUID:
    """Return the id of a subscription; raises HubError RESOURCE_NOT_FOUND for what is none."""
    return parse_id(text) or missing()


def missing() -> NoReturn:
    """Raise HubError RESOURCE_NOT_FOUND."""
    raise HubError("RESOURCE_NOT_FOUND", "There is no subscription with this id")
