"""The index of chunks: writes what documents and records are found by, and keeps count of it.

Counts are not touched by writers: each leaves a row of changes, which is folded soon after (folding.py).
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

from core.store.queries import load_queries
from core.store.statements import Statements
from handlers.knowledge.parsing.parsed import Chunk, Place
from handlers.knowledge.retrieval.analysis import analysed
from handlers.knowledge.retrieval.lexemes import literal
from handlers.knowledge.retrieval.records import record_chunks
from handlers.resources.store import Beside

SQL = load_queries(Path(__file__).with_name("queries.sql"))
_REMOVE_DOCUMENT = SQL["remove"].replace("{which}", "document_id = $2")
_REMOVE_RECORD = SQL["remove"].replace("{which}", "document_id IS NULL")

UNKNOWN_LANGUAGE = "simple"
# Their texts together are about 2 MB, which one statement carries easily.
_CHUNKS_A_STATEMENT = 500


class Index:
    """Writes chunks in the caller's transaction."""

    async def put(
        self,
        db: Statements,
        org_id: UUID,
        knowledge_id: UUID,
        document_id: UUID,
        language: str,
        chunks: Sequence[Chunk],
    ) -> list[int]:
        """Put a document's chunks in the place of those that it had; returns their ids, in order."""
        await self.remove(db, knowledge_id, document_id)
        if not chunks:
            return []
        scope = await _scope(db, org_id, knowledge_id, language)
        ids: list[int] = []
        for first in range(0, len(chunks), _CHUNKS_A_STATEMENT):
            some = chunks[first : first + _CHUNKS_A_STATEMENT]
            counts = counted(some)
            rows = await db.fetch(
                SQL["put"],
                org_id,
                scope,
                knowledge_id,
                document_id,
                language,
                list(range(first, first + len(some))),
                [each.kind for each in some],
                [written_place(each.place) for each in some],
                [each.text.replace("\0", " ") for each in some],
                [each.terms.length for each in some],
                [literal(each.terms) for each in some],
                list(counts),
                list(counts.values()),
            )
            ids += [row["id"] for row in rows]
        return ids

    async def remove(self, db: Statements, knowledge_id: UUID, document_id: UUID | None) -> None:
        """Take a document's chunks out of the index; with None, those of the base's own record."""
        if document_id is None:
            await db.execute(_REMOVE_RECORD, knowledge_id)
        else:
            await db.execute(_REMOVE_DOCUMENT, knowledge_id, document_id)

    async def drop(self, db: Statements, knowledge_id: UUID) -> None:
        """Take a base with all that it holds out of the index."""
        await self.remove(db, knowledge_id, None)
        await db.execute(SQL["drop"], knowledge_id)


async def _scope(db: Statements, org_id: UUID, knowledge_id: UUID, language: str) -> int:
    known = await db.fetchval(SQL["scope_of"], knowledge_id, language)
    return known if known is not None else await db.fetchval(SQL["make_scope"], org_id, knowledge_id, language)


def recorded(knowledge_id: UUID, name: str, data: Any) -> Beside:
    """Return what puts a record into the index; `data` None takes it out."""
    chunks = record_chunks(data) if data is not None else []
    terms = [analysed(text, (name,), UNKNOWN_LANGUAGE) for text, _ in chunks]
    counts = Counter[str]()
    for each in terms:
        counts.update(each.positions.keys())
    return Beside(
        SQL["record"],
        (
            knowledge_id,
            [written_place(place) for _, place in chunks],
            [text for text, _ in chunks],
            [each.length for each in terms],
            [literal(each) for each in terms],
            list(counts),
            UNKNOWN_LANGUAGE,
            list(counts.values()),
        ),
    )


def counted(chunks: Sequence[Chunk]) -> Counter[str]:
    """Return in how many of these chunks each lexeme stands."""
    counts = Counter[str]()
    for each in chunks:
        counts.update(each.terms.lexemes)
    return counts


def written_place(place: Place) -> str:
    """Return a place as `chunks` has it: what is empty is left out."""
    fields = {
        "headings": list(place.headings),
        "page": place.page,
        "first_line": place.first_line,
        "last_line": place.last_line,
        "record": place.record,
    }
    kept = {name: value for name, value in fields.items() if value not in (None, [])}
    return orjson.dumps(kept).decode().replace("\\u0000", " ")


def read_place(written: str) -> Place:
    """Return the place that `written_place` wrote."""
    fields = orjson.loads(written)
    return Place(
        headings=tuple(fields.get("headings", ())),
        page=fields.get("page"),
        first_line=fields.get("first_line"),
        last_line=fields.get("last_line"),
        record=fields.get("record"),
    )
