"""Chunks as ingestion leaves them, for tests of what comes after it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from core.ids import new_id
from handlers.knowledge.embedding import store
from tests.core.jobs.house import House

ADD = """
INSERT INTO chunks (org_id, scope, knowledge_id, document_id, ordinal, kind, language, place, text)
SELECT $1, $2, $3, $4, number, 'text', 'english', $6, text FROM unnest($5::text[]) WITH ORDINALITY AS t (text, number) RETURNING id
"""
BASE = """
INSERT INTO knowledge (org_id, id, version, name, type, status, created_at, updated_at, document, search)
VALUES ($1, $2, 1, 'Base', 'documentation', 'active', now(), now(), '{}', '')
"""
DOCUMENT = """
INSERT INTO documents (org_id, id, knowledge_id, name, version, status, content_type, hash, bytes, metadata, created_at, updated_at)
VALUES ($1, $2, $3, $4, 1, 'ready', 'text/plain', '\\x00', 1, $5, now(), now())
"""


@dataclass
class Chunks:
    """A base and its scope."""

    house: House
    org_id: UUID
    knowledge_id: UUID
    scope: int

    @classmethod
    async def of_new_base(cls, house: House, org_id: UUID) -> "Chunks":
        knowledge_id = new_id()
        await house.rows(BASE, org_id, knowledge_id)
        made = "INSERT INTO knowledge_scopes (org_id, knowledge_id) VALUES ($1, $2) RETURNING scope"
        (row,) = await house.rows(made, org_id, knowledge_id)
        return cls(house, org_id, knowledge_id, row["scope"])

    async def add(
        self, *texts: str, headings: Sequence[str] = (), metadata: Any = None, document_id: UUID | None = None
    ) -> UUID:
        """Add a document with these chunks; returns its id."""
        id = document_id or new_id()
        told = orjson.dumps(metadata or {}).decode()
        await self.house.rows(DOCUMENT, self.org_id, id, self.knowledge_id, str(id), told)
        place = orjson.dumps({"headings": headings}).decode()
        rows = await self.house.rows(ADD, self.org_id, self.scope, self.knowledge_id, id, list(texts), place)
        counted = "UPDATE knowledge_scopes SET chunks = chunks + $2 WHERE scope = $1"
        await self.house.rows(counted, self.scope, len(rows))
        return id

    async def progress(self) -> list[store.Progress]:
        async with self.house.database.read(self.org_id) as db:
            return await store.progress(db, [self.scope])

    async def texts_of(self, ids: Sequence[int]) -> list[str]:
        rows = await self.house.rows("SELECT id, text FROM chunks WHERE id = ANY ($1)", ids)
        texts = {row["id"]: row["text"] for row in rows}
        return [texts[id] for id in ids]
