"""Into the outbox, for who has no operation's context."""

from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from core.events.event import NewEvent
from core.store.queries import load_queries
from core.store.statements import Statements

_SQL = load_queries(Path(__file__).with_name("outbox.sql"))
_COLUMNS = ("id", "type", "subject", "channel", "time", "envelope", "short")


async def put(db: Statements, org_id: UUID, events: Sequence[NewEvent]) -> None:
    """Write events into the outbox, as the last that the transaction does; poke the relay after the commit.

    Whoever emits for a subject holds its row.
    """
    if events:
        await db.execute(_SQL["put"], org_id, *([getattr(event, column) for event in events] for column in _COLUMNS))
