"""Tells how well a knowledge base is searched: questions are asked as `knowledge.query` asks them, and what comes is measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import UUID

import orjson

from core.clock import Clock
from core.errors import HubError
from core.ids import parse_id
from core.operations.context import Context
from core.operations.operation import Operation, operation, operations_of
from core.operations.results import Shown
from core.store.queries import load_queries
from handlers.knowledge.evaluation.measures import Measures, best_first, means, measured
from handlers.knowledge.evaluation.models import (
    MOST_CHARACTERS,
    Asked,
    Evaluate,
    Evaluation,
    JudgedQuestion,
    Questions,
    shown,
)
from handlers.knowledge.retrieval.retriever import Retriever
from handlers.knowledge.retrieval.search import Hit, Search
from handlers.resources.store import ResourceStore

# Up to 200 questions, each as two of other requests.
WEIGHT = 50
_TEXTS = 100
_DIGITS = 4
_SQL = load_queries(Path(__file__).with_name("queries.sql"))

Names = Mapping[str, UUID]


class KnowledgeEvaluation:
    """Measures the caller's knowledge bases. Questions of an evaluation are in no log of queries: nobody wanted to know."""

    def __init__(self, retriever: Retriever, clock: Clock) -> None:
        self._retriever = retriever
        self._clock = clock
        self._bases = ResourceStore("knowledge")

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return operations_of(self)

    @operation(
        "knowledge.evaluate",
        scope="read:knowledge",
        transaction="read",
        input=Evaluate,
        result=Shown,
        shows=Evaluation,
        weight=WEIGHT,
    )
    async def evaluate(self, ctx: Context, asked: Evaluate) -> Shown:
        """Measure how well a knowledge base is searched, by questions whose documents are known: nDCG, recall, MRR."""
        began = self._clock.monotonic()
        _expect_few_characters(asked)
        id = parse_id(asked.id)
        if id is None or not ctx.caller.may_touch(id) or (base := await self._bases.find(ctx, id)) is None:
            raise HubError("RESOURCE_NOT_FOUND", "There is no knowledge with this id")
        wanted = list(dict.fromkeys(name for each in asked.questions for name in each.relevant))
        names = await _named(ctx, id, orjson.loads(base.body)["name"], wanted)
        # One after the other, so that an evaluation takes no more at a time than a question does.
        judged = [await self._judged(ctx, id, each, names, asked.k) for each in asked.questions]
        return Shown(orjson.dumps(shown(self._evaluation(id, asked.k, judged, names, wanted, began))).decode())

    async def _judged(
        self, ctx: Context, id: UUID, asked: Asked, names: Names, k: int
    ) -> tuple[Measures, JudgedQuestion]:
        await self._retriever.prepare(asked.question)
        search = Search(asked.question, (id,), _TEXTS)
        found = await self._retriever.find(ctx.db, search, ctx.caller.resource_ids)
        ranking = best_first(_unit(hit) for hit in found.hits)
        # What the base does not have is not found, whatever it is called.
        relevant = {names.get(name, name) for name in asked.relevant}
        score = measured(ranking, relevant, k, 2 * k)
        places = {unit: rank for rank, unit in enumerate(ranking, 1)}
        titles = {_unit(hit): hit.name for hit in found.hits}
        return score, JudgedQuestion(
            question=asked.question,
            ndcg=round(score.ndcg, _DIGITS),
            recall=round(score.recall, _DIGITS),
            reciprocal_rank=round(score.mrr, _DIGITS),
            ranks={name: places.get(names[name]) if name in names else None for name in asked.relevant},
            found=[titles[unit] for unit in ranking[:k]],
        )

    def _evaluation(
        self,
        id: UUID,
        k: int,
        judged: Sequence[tuple[Measures, JudgedQuestion]],
        names: Names,
        wanted: Sequence[str],
        began: float,
    ) -> Evaluation:
        mean = means([score for score, _ in judged])
        return Evaluation(
            knowledge_id=str(id),
            k=k,
            ndcg=round(mean.ndcg, _DIGITS),
            recall=round(mean.recall, _DIGITS),
            mrr=round(mean.mrr, _DIGITS),
            questions=[each for _, each in judged],
            unknown=[name for name in wanted if name not in names],
            took_ms=round((self._clock.monotonic() - began) * 1000, 1),
        )


def _expect_few_characters(asked: Questions) -> None:
    if sum(len(each.question) for each in asked.questions) > MOST_CHARACTERS:
        raise HubError("PAYLOAD_TOO_LARGE", f"All questions together have at most {MOST_CHARACTERS:,} characters")


async def _named(ctx: Context, id: UUID, base: str, wanted: Sequence[str]) -> dict[str, UUID]:
    """Return the units that names or ids mean: documents, or the base for its own record."""
    ids = [parsed for name in wanted if (parsed := parse_id(name)) is not None]
    names = {base: id, str(id): id}
    for row in await ctx.db.fetch(_SQL["named"], id, list(wanted), ids):
        names[row["name"]] = names[str(row["id"])] = row["id"]
    return names


def _unit(hit: Hit) -> UUID:
    return hit.document_id or hit.knowledge_id
