"""What requests for lists of what lasts, and for its end, have in common: whose it is, and how long is waited."""

from collections.abc import Sequence
from uuid import UUID

from core.auth.caller import Caller
from core.clock import Clock
from core.errors import Detail, HubError
from core.ids import parse_id
from core.operations.context import Context
from handlers.lasting.models import WaitInput

# Of a request's deadline, what is left for its answer.
_ANSWER_SECONDS = 1.0


def whose(field: str, text: str | None) -> UUID | None:
    """Return the resource that a list is narrowed to, None for all. Raises HubError where it is no id, naming the field."""
    id = None if text is None else parse_id(text)
    if id is None and text is not None:
        raise HubError("VALIDATION_ERROR", details=[Detail(field, "INVALID_FORMAT", "Must be an id")])
    return id


def among(caller: Caller) -> Sequence[UUID] | None:
    """Return the resources whose things a caller may see, None for all."""
    return None if caller.resource_ids is None else sorted(caller.resource_ids)


def patience(ctx: Context, clock: Clock, wanted: WaitInput) -> float:
    """Return how many seconds a request waits: as many as it wants, and leaves time for its answer."""
    return min(wanted.seconds, ctx.deadline - clock.monotonic() - _ANSWER_SECONDS)
