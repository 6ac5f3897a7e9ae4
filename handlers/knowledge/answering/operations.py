"""Questions to knowledge bases: the operations behind every door, and agents."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import orjson

from core.clock import Clock
from core.errors import HubError
from core.ids import new_id, parse_id
from core.operations.context import Context
from core.operations.operation import Operation, operation, operations_of
from core.operations.results import Item, Shown, Streamed
from core.store.queries import load_queries
from core.store.reads import Reads
from handlers.knowledge.answering.answers import shown_place
from handlers.knowledge.answering.extractive import MOST_HITS
from handlers.knowledge.answering.models import Answer, QueryAll, QueryBase, QueryResult, Question, Result
from handlers.knowledge.answering.snippets import snippet_of
from handlers.knowledge.answering.writing import Writer
from handlers.knowledge.life.query_log import Query
from handlers.knowledge.retrieval.retriever import Retriever
from handlers.knowledge.retrieval.search import Found, Hit, Search
from handlers.resources.store import ResourceStore

# A question takes PostgreSQL as long as several reads.
WEIGHT = 2
# Of one type, the newest so many are asked; and so many bases are named in the log.
MOST_BASES = 5_000
# What is left of a run's time when a model is given up, so that its answer is quoted yet.
RESERVE_SECONDS = 1.0
MOST_NOTED = 100
SQL = load_queries(Path(__file__).with_name("queries.sql"))


class Notes(Protocol):
    """Where questions are noted, in passing."""

    def note(self, entry: Query) -> None:
        """Take one."""
        ...


class KnowledgeQueries:
    """Answers questions to the caller's organisation's bases."""

    def __init__(self, retriever: Retriever, writer: Writer, clock: Clock, notes: Notes) -> None:
        self._retriever = retriever
        self._writer = writer
        self._quoting = Writer(None, clock)
        self._clock = clock
        self._notes = notes
        self._bases = ResourceStore("knowledge")

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return operations_of(self)

    @operation(
        "knowledge.query",
        scope="read:knowledge",
        transaction="read",
        input=QueryBase,
        result=Shown | Streamed,
        shows=QueryResult,
        weight=WEIGHT,
    )
    async def query(self, ctx: Context, asked: QueryBase) -> Shown | Streamed:
        """Ask one knowledge base: its best texts, and in mode `answer` what they say, with citations."""
        id = parse_id(asked.id)
        if id is None or not ctx.caller.may_touch(id) or await self._bases.find(ctx, id) is None:
            raise HubError("RESOURCE_NOT_FOUND", "There is no knowledge with this id")
        return await self._answered(ctx, asked, (id,))

    @operation(
        "knowledge.query_all",
        scope="read:knowledge",
        transaction="read",
        input=QueryAll,
        result=Shown | Streamed,
        shows=QueryResult,
        weight=WEIGHT,
    )
    async def query_all(self, ctx: Context, asked: QueryAll) -> Shown | Streamed:
        """Ask several knowledge bases, or all: as one is asked."""
        return await self._answered(ctx, asked, None if asked.knowledge is None else tuple(asked.knowledge), asked.type)

    async def _answered(
        self, ctx: Context, asked: Question, bases: tuple[UUID, ...] | None, type: str | None = None
    ) -> Shown | Streamed:
        began = self._clock.monotonic()
        if type is not None:
            bases = await self._of_type(ctx, bases, type)
        # An answer is made of more than is shown.
        limit = max(asked.max_results, MOST_HITS) if asked.mode == "answer" else asked.max_results
        search = Search(asked.question, bases, limit, asked.filter)
        found = await self._retriever.find(ctx.db, search, ctx.caller.resource_ids)
        took = (self._clock.monotonic() - began) * 1000
        query = self._note(ctx, asked, bases, found.hits[: asked.max_results], took)
        if asked.stream:
            return Streamed(self._parts(asked, found, query, took))
        said = _said(asked, found, query, took)
        if asked.mode == "answer":
            # A transaction of several operations does not wait for a model.
            writer = self._writer if isinstance(ctx.db, Reads) else self._quoting
            left = ctx.deadline - self._clock.monotonic() - RESERVE_SECONDS
            said["answer"] = (await writer.whole(asked.question, found, left)).model_dump(mode="json")
        return Shown(orjson.dumps(said).decode())

    async def _parts(self, asked: Question, found: Found, query: UUID, took: float) -> AsyncGenerator[Item]:
        yield Item("results", orjson.dumps(_said(asked, found, query, took)).decode())
        if asked.mode == "search":
            return
        async with aclosing(self._writer.parts(asked.question, found)) as parts:
            async for part in parts:
                if isinstance(part, Answer):
                    yield Item("answer.completed", part.model_dump_json())
                else:
                    yield Item("answer.delta", orjson.dumps({"text": part}).decode())

    async def _of_type(self, ctx: Context, bases: tuple[UUID, ...] | None, type: str) -> tuple[UUID, ...]:
        rows = await ctx.db.fetch(SQL["of_type"], type, None if bases is None else list(bases), MOST_BASES)
        return tuple(row["id"] for row in rows)

    def _note(
        self, ctx: Context, asked: Question, bases: tuple[UUID, ...] | None, hits: list[Hit], took: float
    ) -> UUID:
        """Note the question; returns the id that it has in the log."""
        entry = Query(
            id=new_id(),
            org_id=ctx.caller.org_id,
            time=ctx.now,
            caller=ctx.caller.subject,
            knowledge=(bases or ())[:MOST_NOTED],
            question=asked.question,
            mode=asked.mode,
            results=len(hits),
            found=tuple(hit.document_id or hit.knowledge_id for hit in hits),
            best_score=hits[0].score if hits else None,
            took_ms=took,
        )
        self._notes.note(entry)
        return entry.id


def _said(asked: Question, found: Found, query: UUID, took: float) -> dict[str, Any]:
    return {
        "query_id": str(query),
        "question": asked.question,
        "mode": asked.mode,
        "results": [_result(hit, asked.include_metadata) for hit in found.hits[: asked.max_results]],
        "corrected": dict(found.corrected),
        "took_ms": round(took, 1),
    }


def _result(hit: Hit, with_metadata: bool) -> dict[str, Any]:
    result = Result(
        score=hit.score,
        knowledge_id=hit.knowledge_id,
        document_id=hit.document_id,
        name=hit.name,
        title=hit.title,
        url=hit.url,
        content=hit.text,
        snippet=snippet_of(hit.text, hit.matched),
        place=shown_place(hit.place),
        metadata=dict(hit.metadata) if with_metadata else None,
    )
    return result.model_dump(mode="json", exclude=None if with_metadata else {"metadata"})
