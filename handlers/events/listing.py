"""Lists of the log's events, by position."""

from typing import Any
from uuid import UUID

from core.events.subscriptions.patterns import like_pattern
from core.operations.results import Page
from core.store.statements import Statements
from handlers.events.models import ListResourceEvents
from handlers.lists.asking import Asking, Listed
from handlers.lists.fields import Field, Fields, Kind
from handlers.lists.lister import MOST_PAGE_BYTES, Lister
from handlers.lists.order import Key, complete
from handlers.resources.store import MOST_DOCUMENT_BYTES

# An envelope is a document and its head: id, type, source, subject and time.
_MOST_HEAD_BYTES = 2048
# Texts are compared by code points, as the indexes have them.
FIELDS = Fields(
    {
        field.name: field
        for field in (
            Field("position", "position", Kind.NUMBER),
            Field("id", "event_id", Kind.ID, sortable=False),
            Field("type", 'type COLLATE "C"', Kind.TEXT, sortable=False),
            Field("subject", 'subject COLLATE "C"', Kind.TEXT, sortable=False),
            Field("time", "time", Kind.MOMENT, sortable=False),
        )
    },
    unique="position",
)
# What was written last stands first, as in other lists; sort=position reads the log as it was written.
NEWEST = complete([Key(FIELDS.by_name["position"], descending=True)], FIELDS)
# An envelope is a JSON object as text: before its last brace the position is put in. No event is parsed.
ITEM = """left(document, -1) || ',"position":"' || position || '"}'"""
_LISTED = Listed(
    "events",
    "events",
    FIELDS,
    NEWEST,
    MOST_PAGE_BYTES // (MOST_DOCUMENT_BYTES + _MOST_HEAD_BYTES),
    "envelope AS document, position",
    ITEM,
)
_LISTER = Lister(_LISTED)


async def events_of(
    db: Statements, wanted: ListResourceEvents, *, subject: str | None = None, channels: list[str] | None = None
) -> Page:
    """Return a page of events, of one subject or of some channels where these are given.

    Raises HubError UNKNOWN_PARAMETER for names that the list does not have, VALIDATION_ERROR for values.
    """
    parts: tuple[Any, ...] = (wanted.type, subject, channels)
    asking = Asking(_LISTED, wanted, parts)
    asking.require_equal("subject", subject)
    if wanted.type is not None:
        _require_type(asking, wanted.type)
    if channels is not None:
        asking.require(f"channel = ANY ({asking.bind(channels)})")
    return await _LISTER.asked(db, wanted, asking)


def channels_of(ids: frozenset[UUID]) -> list[str]:
    """Return the channels of whatever resources have these ids."""
    return [f"{kind}:{id}" for kind in ("agents", "knowledge", "twins") for id in sorted(ids)]


def _require_type(asking: Asking, pattern: str) -> None:
    beginning, star, rest = pattern.partition("*")
    if not star:
        asking.require_equal("type", pattern)
        return
    column = FIELDS.by_name["type"].sql
    if beginning:
        # A range of the index: row-level security keeps LIKE from it. Patterns are ASCII, so the last character has a next one.
        last = beginning[:-1] + chr(ord(beginning[-1]) + 1)
        asking.require(f"{column} >= {asking.bind(beginning)} AND {column} < {asking.bind(last)}")
    if rest.strip("*"):
        asking.require(f"{column} LIKE {asking.bind(like_pattern(pattern))}")
