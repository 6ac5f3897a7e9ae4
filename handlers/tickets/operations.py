"""What can be done with tickets: one is made, for the caller itself."""

from datetime import datetime

import orjson
from pydantic import BaseModel, ConfigDict

from core.auth.tickets import Tickets
from core.clock import rfc3339
from core.errors import HubError
from core.operations.context import Context
from core.operations.operation import Operation, operation, operations_of
from core.operations.results import Made
from handlers.resources.shown import EXAMPLE_TIME


class NewTicket(BaseModel):
    """A ticket has no settings."""

    model_config = ConfigDict(extra="forbid")


class Ticket(BaseModel):
    """A ticket: good once, until `expires_at`, as `GET /v2/stream?ticket=...`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ticket": "tkt_...", "expires_at": EXAMPLE_TIME}]})

    ticket: str
    expires_at: datetime


class StreamTickets:
    """Tickets that open a stream as the caller."""

    def __init__(self, tickets: Tickets) -> None:
        self._tickets = tickets

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return operations_of(self)

    @operation(
        "tickets.create", scope=None, transaction="none", input=NewTicket, result=Made, shows=Ticket, holds_secret=True
    )
    async def create(self, ctx: Context, new: NewTicket) -> Made:
        """Make a ticket that opens one stream within 30 s."""
        if ctx.caller.reference is None:
            raise HubError("FORBIDDEN", "This caller has no credential that a ticket could stand for")
        ticket, expires_at = await self._tickets.issue(ctx.caller.reference)
        return Made(orjson.dumps({"ticket": ticket, "expires_at": rfc3339(expires_at)}).decode())
