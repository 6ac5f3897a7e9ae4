"""Documents in PostgreSQL: the statements of one kind of resource."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

from core.operations.context import Context
from core.operations.results import Document
from core.store.joined import joined
from core.store.queries import load_queries
from core.store.statements import Statements

# As GET answers it: a body of 1 MiB, and what the hub adds. Without a bound, changes by PATCH would let it grow for ever.
MOST_DOCUMENT_BYTES = 1024 * 1024 + 64 * 1024

SQL = load_queries(Path(__file__).with_name("queries.sql"))


@dataclass(frozen=True, slots=True)
class Row:
    """What a version of a resource is written with."""

    id: UUID
    version: int
    name: str
    type: str
    status: str
    time: datetime
    document: str
    search: str


@dataclass(frozen=True, slots=True)
class Beside:
    """A statement that is written together with a resource's own; it begins with WITH, and sees nothing of the other."""

    query: str
    args: tuple[object, ...]


def short_of(subject: str, id: UUID, version: int) -> str:
    """Return what travels instead of a resource that is too large (JSON)."""
    short = {"id": str(id), "version": version, "href": f"/v2/{subject}", "truncated": True}
    return orjson.dumps(short).decode()


class ResourceStore:
    """Reads and writes the resources of one kind; `kind` names the table."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._sql = {name: text.replace("{table}", kind) for name, text in SQL.items()}

    async def insert(self, ctx: Context, row: Row, event_id: UUID, beside: Beside | None = None) -> None:
        """Write a new resource with its first version."""
        await _write(
            ctx,
            beside,
            self._sql["insert"],
            row.id,
            row.name,
            row.type,
            row.status,
            row.time,
            row.document,
            row.search,
            event_id,
        )

    async def find(self, ctx: Context, id: UUID) -> Document | None:
        """Return a resource as it is, None where the organisation has none of this id."""
        row = await ctx.look_up(self._sql["find"], id)
        return Document(self._kind, id, row["version"], row["updated_at"], row["document"]) if row else None

    async def hold(self, db: Statements, id: UUID) -> Any:
        """Lock a resource for this transaction; returns its version, created_at and document, or None."""
        return await db.fetchrow(self._sql["hold"], id)

    async def change(self, ctx: Context, row: Row, event_id: UUID, beside: Beside | None = None) -> None:
        """Write the next version of a resource that is held."""
        await _write(
            ctx,
            beside,
            self._sql["change"],
            row.id,
            row.version,
            row.name,
            row.type,
            row.status,
            row.time,
            row.document,
            row.search,
            event_id,
        )

    async def remove(
        self, ctx: Context, id: UUID, event_id: UUID, time: datetime, beside: Beside | None = None
    ) -> None:
        """Remove a resource that is held; its history stays."""
        await _write(ctx, beside, self._sql["remove"], id, event_id, time)


async def _write(ctx: Context, beside: Beside | None, query: str, *args: object) -> None:
    if beside is None:
        await ctx.write(query, *args)
    else:
        # One statement, so that a create stays one round trip.
        await ctx.write(joined(beside.query, query, len(args), "beside_it"), *args, *beside.args)
