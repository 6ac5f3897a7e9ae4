"""What is planned when a twin gets a source, or another schedule; in the transaction of that change."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

from core.operations.context import Context
from core.store.queries import load_queries

SQL = load_queries(Path(__file__).with_name("queries.sql"))


async def follow_source(
    ctx: Context, id: UUID, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> None:
    """Plan the synchronisation of a twin that has become `after`; of one that is gone the plan goes with its row."""
    was, becomes = _planned(before), _planned(after)
    if after is None or was == becomes:
        return
    source, schedule = becomes
    if source is None:
        await ctx.write(SQL["forget"], id)
        return
    next_at = None if schedule is None else ctx.now
    await ctx.write(SQL["plan"], id, orjson.dumps(source).decode(), schedule, next_at)


def _planned(fields: Mapping[str, Any] | None) -> tuple[Any, str | None]:
    """Return the source and the schedule; one without the other plans nothing, but a source can be fetched by hand."""
    source = None if fields is None else fields.get("source")
    if fields is None or source is None:
        return None, None
    return source, fields.get("sync_schedule")
