"""Jobs of vectors that run, as a hub does them, over the fake endpoint."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from core.settings import Settings
from handlers.knowledge.embedding.embedder import Embedder
from handlers.knowledge.embedding.embedders import Embedders
from handlers.knowledge.embedding.jobs import EmbeddingJobs
from handlers.knowledge.embedding.vectors import Vectors
from handlers.knowledge.retrieval.reach import Within
from handlers.knowledge.retrieval.scoring import Scope
from tests.core.jobs.house import House
from tests.handlers.knowledge.embedding.chunks import Chunks
from tests.handlers.knowledge.embedding.endpoint import FakeEndpoint


@dataclass
class Working:
    """A hub with one model: its jobs, and what its questions find."""

    house: House
    jobs: EmbeddingJobs
    vectors: Vectors

    async def ask(self, chunks: Chunks, document_id: UUID | None) -> None:
        """Ask for a document's vectors, as its ingestion does."""
        async with self.house.database.transaction(chunks.org_id) as db:
            await self.jobs.ask(db, chunks.org_id, chunks.knowledge_id, document_id)
        self.house.poke()

    async def found(
        self,
        chunks: Chunks,
        question: str,
        limit: int = 3,
        only: Sequence[int] | None = None,
        filter: str | None = None,
    ) -> list[str]:
        """Return the texts of what is near a question, nearest first."""
        await self.vectors.prepare(question)
        scope = Scope(chunks.scope, 1, 1, ())
        within = Within((scope,), None if only is None else tuple(only), filter)
        async with self.house.database.read(chunks.org_id) as db:
            return await chunks.texts_of(list(await self.vectors.near(db, [within], question, limit)))

    async def settled(self) -> None:
        """Wait until no job of vectors is pending."""

        async def none() -> bool:
            rows = await self.house.rows("SELECT FROM jobs WHERE kind LIKE 'knowledge.%' AND finished_at IS NULL")
            return not rows

        await self.house.eventually(none)


@asynccontextmanager
async def working(house: House, endpoint: FakeEndpoint, model: str = "tiny") -> AsyncGenerator[Working]:
    """A hub that is configured to use `model` of the endpoint, with workers."""
    settings = Settings.load(embedding_url=endpoint.url, embedding_model=model, embedding_key="sk-of-a-test")
    embedders = Embedders(settings, house.clock)
    made = jobs_of(house, embedders.current)
    try:
        async with house.working(*made.kinds):
            yield Working(house, made, Vectors(embedders, house.clock))
    finally:
        await embedders.close()


def jobs_of(house: House, embedder: Embedder | None) -> EmbeddingJobs:
    return EmbeddingJobs(embedder, house.database, house.system, house.jobs)
