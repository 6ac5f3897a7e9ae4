"""Jobs that give chunks their vectors: after what wrote them has committed, and all of a scope where it lacks some.

`knowledge.embed` is of one document (or of a base's own record), made in the transaction that wrote its chunks; or of a scope: a
pass over all its chunks, after which questions to it are asked by this model, and vectors of others go, a few at a time. Until
then those serve. `knowledge.vectors` looks every minute for scopes that lack something: another model was configured, or one was
away for longer than a job is tried.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import structlog

from core.errors import HubError
from core.jobs.jobs import Jobs
from core.jobs.kind import JobKind
from core.jobs.run import JobRun
from core.operations.housekeeping import Housekeeping
from core.store.database import Database
from core.store.statements import Statements
from handlers.knowledge.embedding import store
from handlers.knowledge.embedding.embedder import Embedder, EmbedderAway, EmbeddingError, Floats, TextRefused
from handlers.knowledge.embedding.store import Lacking, Model

KIND = "knowledge.embed"
# Of a step: some hundred KiB of vectors, a second or two of a small model.
CHUNKS_A_STEP = 64
ROWS_A_STEP = 2_000
SCOPES_A_SWEEP = 500
SWEEP_SECONDS = 60.0
# Every model takes it; its vector tells the length of all.
_PROBE = "How long is a vector?"


class EmbeddingJobs:
    """Makes and does the jobs; with no embedder there are none. `system` is hub_system's."""

    def __init__(self, embedder: Embedder | None, database: Database, system: Database, jobs: Jobs) -> None:
        self._embedder = embedder
        self._database = database
        self._system = system
        self._jobs = jobs
        self._model: Model | None = None
        self._has_vectors = False

    @property
    def kinds(self) -> list[JobKind]:
        """The kinds of jobs beside the sweep."""
        return [JobKind(KIND, self._embed, concurrency=4)] if self._embedder else []

    @property
    def sweeps(self) -> list[Housekeeping]:
        """What looks for scopes that lack something."""
        return [Housekeeping("knowledge.vectors", SWEEP_SECONDS, {"scopes": self.sweep})] if self._embedder else []

    async def ask(self, db: Statements, org_id: UUID, knowledge_id: UUID, document_id: UUID | None) -> None:
        """Have the chunks of a document, or of a base's own record, embedded once the transaction of `db` has committed."""
        if self._embedder is None or not await self._can_keep(db):
            return
        document = None if document_id is None else str(document_id)
        await self._jobs.enqueue(db, org_id, KIND, {"knowledge": str(knowledge_id), "document": document})

    async def sweep(self) -> int:
        """Make a job for each scope that lacks something, where none is pending; returns how many scopes do."""
        async with self._database.unbound() as db:
            if self._embedder is None or not await self._can_keep(db):
                return 0
        async with self._system.unbound() as db:
            # A model on the machine takes a second and 100 MB to start: not for a hub without knowledge.
            if not await db.fetchval("SELECT chunks FROM chunk_figures()"):
                return 0
        try:
            model = await self._known_model(self._embedder)
        except EmbeddingError as error:
            structlog.get_logger().warning("model_away", model=self._embedder.model, detail=str(error))
            return 0
        async with self._system.unbound() as db:
            scopes = await db.fetch("SELECT * FROM scopes_to_embed($1, $2)", model.id, SCOPES_A_SWEEP)
            for row in scopes:
                await self._jobs.enqueue(db, row["org_id"], KIND, {"scope": row["scope"]}, key=str(row["scope"]))
        return len(scopes)

    async def _embed(self, run: JobRun) -> None:
        embedder = self._embedder
        assert embedder is not None  # noqa: S101 - without one there is no such kind
        try:
            model = await self._known_model(embedder)
            if "scope" in run.payload:
                await self._embed_scope(run, embedder, model, run.payload["scope"])
            else:
                await self._embed_document(run, embedder, model)
        except EmbeddingError as error:
            raise HubError("SERVICE_UNAVAILABLE", f"{embedder.model} gives no vectors: {error}") from error

    async def _embed_document(self, run: JobRun, embedder: Embedder, model: Model) -> None:
        knowledge_id, named = UUID(run.payload["knowledge"]), run.payload["document"]
        document_id = None if named is None else UUID(named)
        embedded = 0
        while True:
            async with self._database.read(_org_of(run)) as db:
                lacking = await store.lacking_of_document(db, model, knowledge_id, document_id, CHUNKS_A_STEP)
            rows = await self._vectors(embedder, model, lacking)
            embedded += len(rows)
            if len(lacking) < CHUNKS_A_STEP:
                async with run.finishing({"chunks": embedded}) as db:
                    await store.put(db, model, rows)
                return
            async with run.transaction() as db:
                await store.put(db, model, rows)

    async def _embed_scope(self, run: JobRun, embedder: Embedder, model: Model, scope: int) -> None:
        embedded = after = 0
        while True:
            async with self._database.read(_org_of(run)) as db:
                lacking = await store.lacking_of_scope(db, model, scope, after, CHUNKS_A_STEP)
            if not lacking:
                break
            rows = await self._vectors(embedder, model, lacking)
            async with run.transaction() as db:
                await store.put(db, model, rows)
            embedded, after = embedded + len(rows), lacking[-1].id
            await run.tell({"chunks": embedded})
        # What came behind the pass has a job of its own.
        async with run.transaction() as db:
            await store.switch(db, model, scope)
        await self._remove_others(run, model, scope)
        async with run.finishing({"chunks": embedded}):
            pass

    async def _remove_others(self, run: JobRun, model: Model, scope: int) -> None:
        removed = ROWS_A_STEP
        while removed == ROWS_A_STEP:
            async with run.transaction() as db:
                removed = await store.remove_others(db, model, scope, ROWS_A_STEP)

    async def _vectors(self, embedder: Embedder, model: Model, lacking: Sequence[Lacking]) -> dict[int, Floats | None]:
        """Return the chunks' vectors by id; None for what the model refuses. Raises EmbedderAway."""
        if not lacking:
            return {}
        rows = await _one_by_one(embedder, [each.text for each in lacking])
        if any(row is None for row in rows):
            # Whoever refuses everything refuses no text: its settings are wrong.
            await self._probe(embedder)
        if any(row is not None and len(row) != model.dimensions for row in rows):
            self._model = None
            raise EmbedderAway(f"its vectors are no longer of {model.dimensions} dimensions")
        return {each.id: row for each, row in zip(lacking, rows, strict=True)}

    async def _known_model(self, embedder: Embedder) -> Model:
        if self._model is None:
            row = await self._probe(embedder)
            async with self._database.unbound() as db:
                self._model = await store.model_of(db, embedder.model, len(row))
        return self._model

    async def _probe(self, embedder: Embedder) -> Floats:
        try:
            return (await embedder.embed([_PROBE]))[0]
        except TextRefused as error:
            raise EmbedderAway(f"it refuses any text: {error}") from error

    async def _can_keep(self, db: Statements) -> bool:
        # Once there, it stays; where it is missing, `migrate` may add it while this runs.
        self._has_vectors = self._has_vectors or await store.has_vectors(db)
        return self._has_vectors


async def _one_by_one(embedder: Embedder, texts: list[str]) -> list[Any]:
    """Return the texts' vectors; where one is refused, all others', by halves."""
    try:
        return list(await embedder.embed(texts))
    except TextRefused:
        if len(texts) == 1:
            return [None]
        half = len(texts) // 2
        return [*await _one_by_one(embedder, texts[:half]), *await _one_by_one(embedder, texts[half:])]


def _org_of(run: JobRun) -> UUID:
    assert run.org_id is not None  # noqa: S101 - chunks are always somebody's
    return run.org_id
