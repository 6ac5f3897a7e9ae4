"""Where a subscription begins, in positions of the log."""

from uuid import UUID

from core.events.log import position_at
from core.store.statements import Statements
from handlers.subscriptions.models import BehindPosition, BehindTime, Start


async def cursor_of(db: Statements, org_id: UUID, start: Start) -> int | None:
    """Return the position behind which it begins; None for what comes from now on."""
    match start:
        case BehindPosition(position=position):
            return int(position)
        case BehindTime(time=moment):
            return await position_at(db, org_id, moment)
        case "now":
            return None
