"""Questions as vectors: within a time, remembered for a while, and none where there is no model or it does not answer."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping

import structlog

from core.clock import Clock
from handlers.knowledge.embedding.embedder import Embedder, EmbeddingError, Floats

# Then the search goes on by words.
PATIENCE_SECONDS = 1.5
# Of 384 numbers each they are 1.5 MiB, of 3,072 twelve.
REMEMBERED = 1_000
# A question that a model gave nothing for is not tried again for so long: whoever asked first has waited already.
FORGOTTEN_SECONDS = 5.0
# A model that is away is told of once in so long.
TOLD_SECONDS = 60.0


class Questions:
    """Asks models at once; `named` gives the embedder of one, where there is any."""

    def __init__(
        self, named: Callable[[str], Embedder | None], clock: Clock, patience: float = PATIENCE_SECONDS
    ) -> None:
        self._named = named
        self._clock = clock
        self._patience = patience
        self._known: OrderedDict[tuple[str, str], tuple[Floats | None, float]] = OrderedDict()
        self._told_at = float("-inf")

    async def vectors_of(self, question: str, models: Iterable[str]) -> Mapping[str, Floats]:
        """Return what these models make of it in time, by model. Never raises for a model that does not."""
        wanted = [each for each in map(self._named, dict.fromkeys(models)) if each is not None]
        made = await asyncio.gather(*(self._vector(each, question) for each in wanted))
        return {each.model: row for each, row in zip(wanted, made, strict=True) if row is not None}

    async def _vector(self, embedder: Embedder, question: str) -> Floats | None:
        key = (embedder.model, question)
        known = self._known.get(key)
        if known is not None and self._clock.monotonic() < known[1]:
            self._known.move_to_end(key)
            return known[0]
        row = await self._asked(embedder, question)
        # A model's vectors are good for ever.
        until = self._clock.monotonic() + FORGOTTEN_SECONDS if row is None else float("inf")
        self._known[key] = row, until
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return row

    async def _asked(self, embedder: Embedder, question: str) -> Floats | None:
        try:
            async with asyncio.timeout(self._patience):
                return await embedder.embed_question(question)
        except (EmbeddingError, TimeoutError) as error:
            self._tell(embedder.model, error)
            return None

    def _tell(self, model: str, error: Exception) -> None:
        now = self._clock.monotonic()
        if now - self._told_at >= TOLD_SECONDS:
            self._told_at = now
            detail = str(error) or f"no answer within {self._patience:g} s"
            structlog.get_logger().warning("question_not_embedded", model=model, detail=detail)
