"""Knowledge bases, wired for one process: documents and how they are read, the index and what is found by it.

Only a process that does jobs reads documents, so only that has parsers.
"""

from collections.abc import Callable

from core.clock import Clock
from core.jobs.jobs import Jobs
from core.operations.housekeeping import Housekeeping
from core.operations.operation import Operation
from core.outbound import Outbound, Resolver, SystemResolver
from core.settings import Settings
from core.store.database import Database
from handlers.knowledge.answering.operations import KnowledgeQueries, Notes
from handlers.knowledge.answering.writing import Writer
from handlers.knowledge.documents.fetching import Fetcher
from handlers.knowledge.documents.ingestion import Ingestion
from handlers.knowledge.documents.operations import Documents
from handlers.knowledge.documents.purging import purging
from handlers.knowledge.documents.queueing import Queue
from handlers.knowledge.documents.sources import Sources
from handlers.knowledge.embedding.embedders import Embedders
from handlers.knowledge.embedding.jobs import EmbeddingJobs
from handlers.knowledge.embedding.vectors import Vectors
from handlers.knowledge.evaluation.operations import KnowledgeEvaluation
from handlers.knowledge.operations import Knowledge
from handlers.knowledge.parsing.pool import Limits, Parsers
from handlers.knowledge.retrieval.folding import Folding
from handlers.knowledge.retrieval.index import Index
from handlers.knowledge.retrieval.retriever import Retriever
from handlers.models.providers import Models
from hub.jobs import Work
from hub.knowledge_life import tidying_of

SWEPT_SECONDS = 600.0


class KnowledgeParts:
    """The parts. `models` write answers, and are closed by whoever made them. `poke` wakes the relay after events.

    `close` comes after the jobs have ended.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        models: Models,
        clock: Clock,
        poke: Callable[[], None],
        resolver: Resolver | None = None,
    ) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._poke = poke
        self._most_bytes = settings.knowledge_mib << 20
        self._index = Index()
        self._fetcher = Fetcher(Outbound(settings.outbound_allow, clock, resolver or SystemResolver()))
        limits = Limits(seconds=settings.parser_seconds, memory=settings.parser_mib << 20)
        self._parsers = Parsers(settings.parsers, limits=limits, clock=clock)
        self._embedders = Embedders(settings, clock)
        self.retriever = Retriever(Vectors(self._embedders, clock))
        self._models = models

    def work(self, jobs: Jobs, system: Database) -> Work:
        """Return what is done by jobs. `system` is a pool of hub_system."""
        embedding = EmbeddingJobs(self._embedders.current, self._database, system, jobs)
        ingestion = Ingestion(
            self._database,
            self._parsers,
            self._index,
            self._fetcher,
            embedding,
            jobs,
            self._clock,
            self._poke,
            self._most_bytes,
        )
        tidied = (
            Housekeeping("knowledge.waiting", SWEPT_SECONDS, {"bases": ingestion.sweep}),
            tidying_of(self._settings, self._database),
            *embedding.sweeps,
        )
        running = {"knowledge_folding": Folding(system, self._clock)}
        return Work([ingestion.kind, purging(), *embedding.kinds], tidied, running)

    def knowledge(self, jobs: Jobs) -> Knowledge:
        """Return the bases, whose sources are fetched."""
        return Knowledge(Sources(Queue(jobs)))

    def operations(self, jobs: Jobs, notes: Notes) -> list[Operation]:
        """Return the operations on what bases hold; `notes` takes what they are asked."""
        documents = Documents(self._database, Queue(jobs), self._index, self._fetcher, self._clock, self._most_bytes)
        writer = Writer(self._models.configured, self._clock)
        queries = KnowledgeQueries(self.retriever, writer, self._clock, notes)
        evaluation = KnowledgeEvaluation(self.retriever, self._clock)
        return [*documents.operations(), *queries.operations(), *evaluation.operations()]

    async def close(self) -> None:
        """End the parsers, and let go of the models of vectors."""
        await self._parsers.close()
        await self._embedders.close()
