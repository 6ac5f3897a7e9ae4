"""The `sources` of a base: URLs among them are fetched by the hub, anything else is the clients' matter."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from core.ids import new_id
from core.operations.context import Context
from handlers.knowledge.documents.queueing import Queue
from handlers.knowledge.documents.store import SQL
from handlers.knowledge.documents.taking import name_of, type_of


def urls_of(fields: Mapping[str, Any] | None) -> list[str]:
    """Return the URLs among a base's sources, each once, in the order of the documents that they become."""
    sources: Any = None if fields is None else fields.get("sources")
    named = {name_of(each): each for each in sources or () if _is_url(each)}
    return [named[name] for name in sorted(named)]


class Sources:
    """Has sources fetched, in the transaction that declares them."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def begin(self, ctx: Context, id: UUID) -> None:
        """Have a job at hand, before the base is held."""
        await self._queue.ingest(ctx, ctx.db, id)

    async def declare(self, ctx: Context, id: UUID, urls: Sequence[str]) -> None:
        """Take documents that are to be fetched from these URLs; those that the base has already stay as they are."""
        names = [name_of(url) for url in urls]
        types = [type_of(name) for name in names]
        await ctx.db.execute(SQL["declare"], id, [new_id() for _ in urls], names, types, list(urls), ctx.now)

    async def gone(self, ctx: Context, id: UUID) -> None:
        """Have all removed that a deleted base had."""
        await self._queue.purge(ctx, ctx.db, id)


def _is_url(source: object) -> bool:
    return isinstance(source, str) and source.lower().startswith(("http://", "https://"))
