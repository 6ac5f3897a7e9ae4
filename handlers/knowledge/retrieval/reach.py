"""What a search goes through: which scopes, and which chunks of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from core.store.statements import Statements
from handlers.knowledge.retrieval.index import SQL
from handlers.knowledge.retrieval.scoring import Scope
from handlers.knowledge.retrieval.search import Search

# Bases with documents that are searched where none are named.
MOST_BASES = 500
# Chunks that a filter leaves over: so many are all looked at; of more, those that have rare words.
MOST_FILTERED = 5_000
_MOST_RECORDS = 5_000


@dataclass(frozen=True, slots=True)
class Within:
    """Chunks of these scopes: of these ids, where `only` is there; whose document or record has all of `filter`, where that is."""

    scopes: tuple[Scope, ...]
    only: tuple[int, ...] | None = None
    filter: str | None = None


async def reach(db: Statements, search: Search, allowed: frozenset[UUID] | None) -> list[Within]:
    """Return what a search goes through, of bases that the caller may read (None: all of the organisation's)."""
    bases = _bases(search, allowed)
    if bases == []:
        return []
    rows = await db.fetch(SQL["scopes"], bases, MOST_BASES + 1)
    scopes = [(row["knowledge_id"], _scope(row)) for row in rows if row["chunks"] > 0]
    if not scopes:
        return []
    if search.filter:
        return await _filtered(db, [each for _, each in scopes], bases, search.filter)
    if bases is None:
        return [Within(tuple(each for _, each in scopes))]
    # Among records a base is one of very many, so those that are named are looked at by themselves.
    of_documents = tuple(each for id, each in scopes if id is not None)
    of_records = tuple(each for id, each in scopes if id is None)
    records = await db.fetch(SQL["of_bases"], bases, _MOST_RECORDS) if of_records else []
    within = [Within(of_documents)] if of_documents else []
    return [*within, Within(of_records, tuple(row["id"] for row in records))] if records else within


async def _filtered(
    db: Statements, scopes: Sequence[Scope], bases: list[UUID] | None, filter: Mapping[str, Any]
) -> list[Within]:
    written = orjson.dumps(filter).decode()
    only = await db.fetchval("SELECT chunks_having($1, $2, $3)", written, bases, MOST_FILTERED)
    if only is None:
        return [Within(tuple(scopes), None, written)]
    return [Within(tuple(scopes), tuple(only))] if only else []


def _bases(search: Search, allowed: frozenset[UUID] | None) -> list[UUID] | None:
    if search.bases is None:
        return None if allowed is None else sorted(allowed)
    return [each for each in dict.fromkeys(search.bases) if allowed is None or each in allowed]


def _scope(row: Any) -> Scope:
    return Scope(row["scope"], row["chunks"], row["length"], tuple(row["languages"]), row["changes"])
