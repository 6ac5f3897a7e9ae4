"""Sets in the hub's own tables: read by its parsers, put by its index, found by its retriever."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import numpy as np

from benchmarks.retrieval.sets import Document, EvaluationSet
from benchmarks.retrieval.vectors import KeptVectors
from core.clock import SystemClock
from core.ids import new_id
from core.settings import Settings
from core.store.database import Database
from handlers.knowledge.embedding import store
from handlers.knowledge.embedding.embedder import Floats
from handlers.knowledge.embedding.embedders import Embedders
from handlers.knowledge.embedding.vectors import Vectors
from handlers.knowledge.evaluation.measures import best_first
from handlers.knowledge.parsing.parsed import Parsed, Place
from handlers.knowledge.parsing.pool import Parsers
from handlers.knowledge.parsing.unparsable import Unparsable
from handlers.knowledge.retrieval.folding import fold
from handlers.knowledge.retrieval.index import Index
from handlers.knowledge.retrieval.retriever import Retriever
from handlers.knowledge.retrieval.search import Search

# As many chunks as a search gives; units are far fewer.
DEPTH = 100
_READ_AT_ONCE = 8
_EMBEDDED_AT_ONCE = 64
_BASE = """
INSERT INTO knowledge (org_id, id, version, name, type, status, created_at, updated_at, document, search)
VALUES (current_org(), $1, 1, $2, 'documentation', 'active', now(), now(), $3, '')
"""
_DOCUMENT = """
INSERT INTO documents (org_id, id, knowledge_id, name, version, status, content_type, hash, bytes, created_at, updated_at)
VALUES (current_org(), $1, $2, $3, 1, 'ready', $4, $5, $6, now(), now())
"""


@dataclass(frozen=True, slots=True)
class KeptChunk:
    """A chunk as the baselines take it; `text` has its headings in front, which the hub's index has too."""

    id: int
    name: str
    place: Place
    text: str


@dataclass(frozen=True, slots=True)
class Base:
    """A set that was put into a knowledge base. `refused` are documents that the hub could not read, with the reason."""

    id: UUID
    of: EvaluationSet
    chunks: list[KeptChunk]
    refused: list[str]
    by_id: dict[int, KeptChunk]

    def units(self, found: list[int], of: EvaluationSet) -> list[str]:
        """Return the units of chunks, as a set of the same documents has them, each by its best chunk."""
        by_id = self.by_id
        return best_first(unit for id in found for unit in of.units(by_id[id].name, by_id[id].place))


class Library:
    """Knowledge bases of one organisation."""

    def __init__(self, database: Database, org_id: UUID, parsers: Parsers, embedders: Embedders) -> None:
        self._database = database
        self._org_id = org_id
        self._parsers = parsers
        self._index = Index()
        self._embedder = embedders.current
        self._vectors = Vectors(embedders, SystemClock())

    @property
    def has_vectors(self) -> bool:
        """Whether a model is there."""
        return self._embedder is not None

    async def put(self, of: EvaluationSet) -> Base:
        """Read and index all documents of a set."""
        base = Base(new_id(), of, [], [], {})
        async with self._database.transaction(self._org_id) as db:
            await db.execute(_BASE, base.id, of.key, f'{{"id": "{base.id}"}}')
        waiting = iter(of.documents)

        async def work() -> None:
            for document in waiting:
                await self._put(base, document)

        await asyncio.gather(*(work() for _ in range(_READ_AT_ONCE)))
        await fold(self._database)
        base.chunks.sort(key=lambda chunk: chunk.id)
        base.by_id.update((chunk.id, chunk) for chunk in base.chunks)
        return base

    async def embed(self, base: Base, kept: KeptVectors) -> None:
        """Give every chunk of a base its vector, out of `kept` where the same text was embedded before."""
        embedder = self._embedder
        assert embedder is not None
        async with self._database.transaction(self._org_id) as db:
            model = await store.model_of(db, embedder.model, 384)
            scope = await db.fetchval("SELECT scope FROM knowledge_scopes WHERE knowledge_id = $1", base.id)
        for first in range(0, len(base.chunks), _EMBEDDED_AT_ONCE):
            some = base.chunks[first : first + _EMBEDDED_AT_ONCE]
            rows = await kept.of(embedder, [_embedded(each) for each in some])
            async with self._database.transaction(self._org_id) as db:
                await store.put(db, model, dict(zip((each.id for each in some), rows, strict=True)))
        kept.save()
        async with self._database.transaction(self._org_id) as db:
            await store.switch(db, model, scope)

    async def words(self, base: Base, question: str) -> list[int]:
        """Return the chunks that the hub finds by words alone."""
        return await self._found(Retriever(), base, question)

    async def both(self, base: Base, question: str) -> list[int]:
        """Return the chunks that the hub finds by words and by meaning."""
        return await self._found(Retriever(self._vectors), base, question)

    async def rows(self, base: Base, kept: KeptVectors) -> Floats:
        """Return a base's vectors, in the order of its chunks, after `embed`."""
        assert self._embedder is not None
        return np.stack(await kept.of(self._embedder, [_embedded(each) for each in base.chunks]))

    async def question(self, question: str, kept: KeptVectors) -> list[float]:
        """Return the vector of a question."""
        assert self._embedder is not None
        return (await kept.of(self._embedder, [question]))[0].tolist()

    async def ts_rank(self, base: Base, question: str, function: str) -> list[int]:
        """Return the chunks that have any word of a question, by PostgreSQL's own ranking."""
        query = _TS_RANK.replace("{rank}", function)
        async with self._database.read(self._org_id) as db:
            return [row["id"] for row in await db.fetch(query, base.id, question, DEPTH)]

    async def _found(self, retriever: Retriever, base: Base, question: str) -> list[int]:
        await retriever.prepare(question)
        async with self._database.read(self._org_id) as db:
            found = await retriever.find(db, Search(question, (base.id,), DEPTH), None)
        return [hit.chunk_id for hit in found.hits]

    async def _put(self, base: Base, document: Document) -> None:
        try:
            parsed = await self._parsers.parse(document.content, document.content_type, document.name)
        except Unparsable as error:
            base.refused.append(f"{document.name}: {error.code}")
            return
        id = new_id()
        digest = sha256(document.content).digest()
        async with self._database.transaction(self._org_id) as db:
            await db.execute(
                _DOCUMENT, id, base.id, document.name, document.content_type, digest, len(document.content)
            )
            ids = await self._index.put(db, self._org_id, base.id, id, parsed.language, parsed.chunks)
        base.chunks.extend(_kept(document.name, parsed, ids))


def _embedded(chunk: KeptChunk) -> str:
    return store.embedded_text(chunk.text.partition("\n")[2], chunk.place.headings)


def _kept(name: str, parsed: Parsed, ids: list[int]) -> list[KeptChunk]:
    return [
        KeptChunk(id, name, chunk.place, " ".join(chunk.place.headings) + "\n" + chunk.text)
        for id, chunk in zip(ids, parsed.chunks, strict=True)
    ]


_TS_RANK = """
WITH asked AS (SELECT replace(plainto_tsquery('english', $2)::text, '&', '|')::tsquery AS any_word)
SELECT plain.chunk_id AS id FROM evaluated_chunks plain, asked
WHERE plain.knowledge_id = $1 AND plain.words @@ asked.any_word
ORDER BY {rank}(plain.words, asked.any_word) DESC, plain.chunk_id LIMIT $3
"""

PLAIN_TABLE = """
CREATE TABLE hub.evaluated_chunks (chunk_id bigint, knowledge_id uuid, words tsvector);
GRANT SELECT, INSERT ON hub.evaluated_chunks TO hub_app;
"""


async def put_plain(database: Database, org_id: UUID, base: Base) -> None:
    """Put the same texts where `ts_rank` finds them."""
    async with database.transaction(org_id) as db:
        await db.execute(
            "INSERT INTO evaluated_chunks SELECT id, $1, to_tsvector('english', text) FROM unnest($2::bigint[], $3::text[]) "
            "AS given (id, text)",
            base.id,
            [chunk.id for chunk in base.chunks],
            [chunk.text.replace("\0", " ") for chunk in base.chunks],
        )


@asynccontextmanager
async def opened(url: str, org_id: UUID) -> AsyncGenerator[tuple[Database, Library]]:
    """Open a library on a migrated database, and close it with its processes."""
    clock = SystemClock()
    database = Database(url, role="hub_app", size=_READ_AT_ONCE)
    parsers, embedders = Parsers(2, clock=clock), Embedders(Settings.load(), clock)
    try:
        yield database, Library(database, org_id, parsers, embedders)
    finally:
        await parsers.close()
        await embedders.close()
        await database.close()


VECTORS = Path(__file__).resolve().parents[1] / "build" / "retrieval" / "vectors.npz"
