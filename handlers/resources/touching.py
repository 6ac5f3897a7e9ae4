"""A resource becomes another version since something that belongs to it has changed; for who has no operation's context."""

from datetime import datetime
from uuid import UUID

import orjson

from core.clock import rfc3339
from core.events.event import NewEvent, new_event
from core.ids import new_id
from core.store.statements import Statements
from handlers.resources.store import SQL, short_of


async def touched(db: Statements, kind: str, type: str, id: UUID, now: datetime) -> NewEvent | None:
    """Write the next version of a resource, which the transaction holds from then on; None where there is no such resource.

    Returns its event, of type `type`, which the caller puts into the outbox.
    """
    held = await db.fetchrow(SQL["hold"].replace("{table}", kind), id)
    if held is None:
        return None
    version = held["version"] + 1
    document = orjson.dumps({**orjson.loads(held["document"]), "updated_at": rfc3339(now), "version": version}).decode()
    subject = f"{kind}/{id}"
    told = new_event(
        event_id=new_id(),
        type=type,
        subject=subject,
        time=now,
        data=document,
        short=short_of(subject, id, version),
    )
    await db.execute(SQL["touch"].replace("{table}", kind), id, version, now, document, told.id)
    return told
