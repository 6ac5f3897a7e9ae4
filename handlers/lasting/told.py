"""Events of what outlives its request, for the log."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from core.events.event import NewEvent, new_event
from core.events.outbox import put
from core.ids import new_id
from core.operations.context import Context
from core.store.statements import Statements


@dataclass(frozen=True, slots=True)
class Told:
    """An event for the log; `data` and `short`, which travels in its place where it is too long, are JSON."""

    type: str
    subject: str
    channel: str
    data: str
    short: str

    def event(self, now: datetime) -> NewEvent:
        """Return it for the outbox."""
        return new_event(
            event_id=new_id(),
            type=self.type,
            subject=self.subject,
            time=now,
            data=self.data,
            short=self.short,
            channel=self.channel,
        )


async def emit(db: Statements, org_id: UUID, told: Iterable[Told], now: datetime) -> None:
    """Put events into the outbox, as the last that the transaction does; for who has no operation's context."""
    await put(db, org_id, [each.event(now) for each in told])


def emit_in(ctx: Context, told: Iterable[Told]) -> None:
    """Have events emitted with an operation's transaction."""
    for each in told:
        ctx.emit(each.type, each.subject, each.data, short=each.short, channel=each.channel)
