"""Appending events of applications to the log: all of a request or none, in one order for each subject.

A subject has a row with its version, the number of its events. It is held while events are appended, so the outbox has a
subject's events in the order of its versions, and who expects a version is told for sure.
"""

from collections import Counter
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

from core.errors import Detail, HubError
from core.events.event import application_channel
from core.ids import new_id
from core.operations.context import Context
from core.operations.operation import Operation, operation, operations_of
from core.operations.results import Shown
from core.store.queries import load_queries
from handlers.events.checking import Checking
from handlers.events.custom import Appended, AppendEvents, NewEvent
from handlers.resources.store import MOST_DOCUMENT_BYTES

_SQL = load_queries(Path(__file__).with_name("appending.sql"))


class Appending:
    """The events that the organisation's own applications put into its log."""

    def __init__(self) -> None:
        self._checking = Checking()

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return operations_of(self)

    @operation(
        "events.append", scope="write:events", transaction="write", input=AppendEvents, result=Shown, shows=Appended
    )
    async def append(self, ctx: Context, new: AppendEvents) -> Shown:
        """Append events of an application: all of them, or none."""
        if ctx.caller.resource_ids is not None:
            # Their subjects are no resources, so none of them could be one of the credential's.
            raise HubError(
                "FORBIDDEN", "This credential is for some resources only; events are of the whole organisation"
            )
        texts = [_text(event, place) for event, place in zip(new.events, new.places, strict=True)]
        versions, revisions = await _advanced(ctx, new)
        await self._checking.check(ctx, new.events, texts, new.places, revisions)
        written = [
            {"id": _emit(ctx, event, text, version), "type": event.type, "subject": event.subject, "version": version}
            for event, text, version in zip(new.events, texts, versions, strict=True)
        ]
        subjects = {each["subject"]: each["version"] for each in written}  # of each the last
        return Shown(orjson.dumps({"events": written, "subjects": subjects}).decode())


async def _advanced(ctx: Context, new: AppendEvents) -> tuple[list[int], dict[str, UUID]]:
    """Hold the subjects; return each event's version, and the revisions of the types that have schemas.

    Raises HubError RESOURCE_CONFLICT where another version was expected.
    """
    counts = Counter(event.subject for event in new.events)
    types = {event.type for event in new.events}
    rows = await ctx.db.fetch(_SQL["advance"], list(counts), list(counts.values()), list(types))
    last = {row["subject"]: row["version"] - counts[row["subject"]] for row in rows if row["revision"] is None}
    versions: list[int] = []
    wrong: list[Detail] = []
    for event, place in zip(new.events, new.places, strict=True):
        before = last[event.subject]
        if event.expected is not None and event.expected != before:
            message = f"{event.subject} has the version {before}, not {event.expected}"
            wrong.append(Detail(f"{place}expected_version", "RESOURCE_CONFLICT", message))
        last[event.subject] = before + 1
        versions.append(before + 1)
    if wrong:
        raise HubError("RESOURCE_CONFLICT", wrong[0].message, details=wrong)
    return versions, {row["type"]: row["revision"] for row in rows if row["revision"] is not None}


def _emit(ctx: Context, event: NewEvent, data: bytes, version: int) -> str:
    id = new_id()
    short: dict[str, Any] = {"id": str(id), "version": version, "href": f"/v2/events/{id}", "truncated": True}
    ctx.emit(
        event.type,
        event.subject,
        data.decode(),
        short=orjson.dumps(short).decode(),
        id=id,
        time=event.happened,
        channel=application_channel(event.subject),
    )
    return str(id)


def _text(event: NewEvent, place: str) -> bytes:
    written = orjson.dumps(event.data)
    if len(written) > MOST_DOCUMENT_BYTES:
        most = MOST_DOCUMENT_BYTES >> 10
        raise HubError("PAYLOAD_TOO_LARGE", f"An event has at most {most} KiB of data; {place}data has more")
    return written
