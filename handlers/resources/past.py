"""State as of a past moment: `as_of=<position>` or `as_of=<time>`, from the history of versions.

A version holds from the position of one event up to, not including, that of another. A time means the last position that was given
by then, so what had no position yet is not there, and no answer ever changes: `recorded_at` never falls.
"""

import re
from typing import Any
from uuid import UUID

from core.errors import Detail, HubError
from core.events.log import head_position, position_at
from core.operations.context import Context
from core.operations.results import Document
from handlers.lists.fields import moment_of
from handlers.resources.store import SQL

_POSITION = re.compile(r"[0-9]{1,18}")
# Without attributes: they are made of the document where a filter asks for them.
_FOUND = "id, version, name, type, status, created_at, updated_at"


async def position_of(ctx: Context, as_of: str) -> int:
    """Return the position that `as_of` means; raises HubError VALIDATION_ERROR for what means none, or one that is yet to come."""
    org_id = ctx.caller.org_id
    if _POSITION.fullmatch(as_of) is None:
        try:
            return await position_at(ctx.db, org_id, moment_of(as_of))
        except ValueError as error:
            message = "Must be a position of the log, or a time with its offset (RFC 3339); in a query + is written %2B"
            raise _wrong("INVALID_FORMAT", message) from error
    position, head = int(as_of), await head_position(ctx.db, org_id)
    if position > head:
        raise _wrong("VALUE_OUT_OF_RANGE", f"The log ends at position {head}")
    return position


async def find_past(ctx: Context, kind: str, id: UUID, as_of: str) -> Document | None:
    """Return a resource as it was, None where there was none; raises as `position_of`."""
    position = await position_of(ctx, as_of)
    row: Any = await ctx.db.fetchrow(SQL["find_past"].replace("{table}", kind), id, position)
    return Document(kind, id, row["version"], row["from_time"], row["document"]) if row else None


def alive_at(kind: str, place: str) -> str:
    """Return what stands for a kind's table at the position that has this placeholder, of which nothing is asked but id,
    created_at and document: no document is read that is not shown."""
    alive = _filled(SQL["alive"], kind, place)
    return f"({alive}) AS past"


def found_at(kind: str, place: str, where: str) -> tuple[str, str]:
    """Return the same for all that can be asked: what precedes the page in WITH, which finds whom `where` means, and its table."""
    past, scanned = _filled(SQL["past"], kind, place), _filled(SQL["scanned"], kind, place)
    shown = _filled(SQL["shown"], kind, place)
    is_short = SQL["is_short"].replace("{population}", total_as_of(kind, place))
    found = (
        f"is_short AS MATERIALIZED ({is_short}), past AS MATERIALIZED (SELECT {_FOUND} FROM ({scanned}) AS scanned "  # noqa: S608 - fixed
        f"WHERE (SELECT yes FROM is_short) AND {where} "
        f"UNION ALL SELECT {_FOUND} FROM ({past}) AS past WHERE NOT (SELECT yes FROM is_short) AND {where}), "
    )
    return found, f"({shown}) AS shown"


def total_as_of(kind: str, place: str) -> str:
    """Return what gives the number of a kind's resources at the position that has this placeholder."""
    return _filled(SQL["population"], kind, place)


def _filled(text: str, kind: str, place: str) -> str:
    return text.replace("{table}", kind).replace("{place}", place)


def _wrong(code: str, message: str) -> HubError:
    return HubError("VALIDATION_ERROR", details=[Detail("as_of", code, message)])
