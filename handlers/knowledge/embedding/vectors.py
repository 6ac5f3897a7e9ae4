"""What retrieval asks of vectors: which chunks are near a question."""

from collections.abc import Sequence

from core.clock import Clock
from core.store.statements import Statements
from handlers.knowledge.embedding import store
from handlers.knowledge.embedding.embedders import Embedders
from handlers.knowledge.embedding.questions import PATIENCE_SECONDS, Questions
from handlers.knowledge.embedding.store import Near
from handlers.knowledge.retrieval.reach import Within

# Another model that a scope was still asked by is asked at once too, for so long.
REMEMBERED_SECONDS = 600.0
# A question is a sentence; models read some hundred words.
MOST_CHARACTERS = 4_000


class Vectors:
    """Without a current model nothing is near anything, and nobody is asked.

    `patience` is what a question may take, in seconds; scopes of `few` chunks together are compared whole.
    """

    def __init__(
        self,
        embedders: Embedders,
        clock: Clock,
        *,
        patience: float = PATIENCE_SECONDS,
        few: int = store.FEW_CHUNKS,
    ) -> None:
        self._current = embedders.current
        self._questions = Questions(embedders.named, clock, patience)
        self._clock = clock
        self._few = few
        self._has_vectors = False
        # When a scope was last met that is asked by a model, by the model's name.
        self._met: dict[str, float] = {}

    async def prepare(self, question: str) -> None:
        """Have the question's vectors at hand: `near` then has no model to wait for while it holds a connection."""
        if self._current is not None and self._has_vectors:
            now = self._clock.monotonic()
            met = [model for model, at in self._met.items() if now - at < REMEMBERED_SECONDS]
            await self._questions.vectors_of(question[:MOST_CHARACTERS], [self._current.model, *met])

    async def near(
        self, db: Statements, within: Sequence[Within], question: str, limit: int, also: Sequence[int] = ()
    ) -> dict[int, float]:
        """Return how similar the nearest chunks are, and those of `also` that are among these, nearest first.

        A scope without vectors, or by whose model the question has none in time, gives nothing: it is found by words.
        """
        if self._current is None or not await self._can_ask(db):
            return {}
        found: dict[int, float] = {}
        for each in within:
            found |= await self._within(db, each, question[:MOST_CHARACTERS], limit, also)
        return dict(sorted(found.items(), key=lambda each: (-each[1], each[0])))

    async def _within(
        self, db: Statements, within: Within, question: str, limit: int, also: Sequence[int]
    ) -> dict[int, float]:
        models = await store.asked_by(db, [each.scope for each in within.scopes])
        self._met |= dict.fromkeys((model.name for model in models), self._clock.monotonic())
        rows = await self._questions.vectors_of(question, (model.name for model in models))
        found: list[Near] = []
        for model, scopes in models.items():
            row = rows.get(model.name)
            if row is None or len(row) != model.dimensions:
                continue
            found += await store.near(
                db, scopes, model, row, limit, only=within.only, filter=within.filter, few=self._few
            )
            missed = set(also).difference(each.chunk_id for each in found)
            if missed:
                found += await store.near(db, scopes, model, row, len(missed), only=list(missed))
        return {each.chunk_id: each.similarity for each in found}

    async def _can_ask(self, db: Statements) -> bool:
        self._has_vectors = self._has_vectors or await store.has_vectors(db)
        return self._has_vectors
