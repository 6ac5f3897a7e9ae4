"""Knowledge bases of one organisation over a real database, below the doors: texts go in, hits come out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from core.ids import new_id
from core.store.database import Database
from handlers.knowledge.parsing.parsed import Chunk, Place
from handlers.knowledge.retrieval.analysis import analysed
from handlers.knowledge.retrieval.folding import fold
from handlers.knowledge.retrieval.index import Index, recorded
from handlers.knowledge.retrieval.retriever import Retriever
from handlers.knowledge.retrieval.search import Found, Search

_DOCUMENT = """
INSERT INTO documents (org_id, id, knowledge_id, name, version, status, content_type, hash, bytes, metadata, created_at, updated_at)
VALUES (current_org(), $1, $2, $3, 1, 'ready', 'text/plain', '', 0, $4, now(), now())
"""
_BASE = """
INSERT INTO knowledge (org_id, id, version, name, type, status, created_at, updated_at, document, search)
VALUES (current_org(), $1, 1, $2, 'contact', 'active', now(), now(), $3, '')
"""


def chunk(text: str, *headings: str, language: str = "english") -> Chunk:
    """Return a chunk as parsing makes it."""
    return Chunk("text", text, Place(headings=headings), analysed(text, headings, language))


@dataclass
class Library:
    """Puts and finds for one organisation."""

    database: Database
    org_id: UUID
    index: Index = field(default_factory=Index)
    retriever: Retriever = field(default_factory=Retriever)

    async def document(
        self,
        base: UUID,
        name: str,
        *texts: str | Chunk,
        language: str = "english",
        metadata: dict[str, Any] | None = None,
    ) -> UUID:
        """Put a new document of these chunks."""
        id = new_id()
        async with self.database.transaction(self.org_id) as db:
            await db.execute(f"{_BASE} ON CONFLICT DO NOTHING", base, "Base", "{}")
            await db.execute(_DOCUMENT, id, base, name, orjson.dumps(metadata or {}).decode())
        await self.put(base, id, *texts, language=language)
        return id

    async def put(self, base: UUID, id: UUID, *texts: str | Chunk, language: str = "english") -> list[int]:
        """Put chunks in the place of a document's."""
        chunks = [chunk(each, language=language) if isinstance(each, str) else each for each in texts]
        async with self.database.transaction(self.org_id) as db:
            return await self.index.put(db, self.org_id, base, id, language, chunks)

    async def record(self, name: str, data: Any) -> UUID:
        """Make a base that holds one record."""
        id = new_id()
        document = orjson.dumps({"id": str(id), "data": data}).decode()
        beside = recorded(id, name, data)
        async with self.database.transaction(self.org_id) as db:
            await db.execute(_BASE, id, name, document)
            await db.execute(beside.query, *beside.args)
        return id

    async def fold(self) -> int:
        """Bring the counts up to date."""
        return await fold(self.database)

    async def find(
        self,
        question: str,
        *bases: UUID,
        limit: int = 5,
        filter: dict[str, Any] | None = None,
        allowed: frozenset[UUID] | None = None,
    ) -> Found:
        """Ask."""
        async with self.database.read(self.org_id) as db:
            return await self.retriever.find(db, Search(question, bases or None, limit, filter), allowed)

    async def names(self, question: str, *bases: UUID, **more: Any) -> list[str]:
        """Return the names of the documents that a question finds, best first."""
        return [hit.name for hit in (await self.find(question, *bases, **more)).hits]

    async def rows(self, query: str, *args: object) -> Sequence[Any]:
        """Return rows as requests see them."""
        async with self.database.read(self.org_id) as db:
            return await db.fetch(query, *args)
