"""What can be asked of a knowledge base's life: how it is doing, and what it was asked."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID

import orjson

from core.clock import rfc3339
from core.errors import HubError
from core.ids import parse_id
from core.operations.context import Context
from core.operations.operation import Operation, operation, operations_of
from core.operations.results import Page, Shown
from core.store.queries import load_queries
from core.store.statements import Statements
from handlers.knowledge.embedding.store import has_vectors
from handlers.knowledge.life.durations import COUNT, quantile
from handlers.knowledge.life.models import Judge, Judged, Judgement, ListQueries, LoggedQuery, Statistics
from handlers.lists.lister import MOST_COUNTED, page_of
from handlers.resources.models import GetInput
from handlers.resources.store import ResourceStore

_SQL = load_queries(Path(__file__).with_name("operations.sql"))
_STATUSES = ("pending", "ready", "failed")


class KnowledgeLife:
    """Statistics and the log of queries of the caller's knowledge bases.

    Who may read a base may see its statistics and judge an answer that it gave. What others asked may be confidential: the log of
    queries is for those who may change the base.
    """

    def __init__(self) -> None:
        self._bases = ResourceStore("knowledge")

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return operations_of(self)

    @operation(
        "knowledge.statistics",
        scope="read:knowledge",
        transaction="read",
        input=GetInput,
        result=Shown,
        shows=Statistics,
    )
    async def statistics(self, ctx: Context, wanted: GetInput) -> Shown:
        """Tell how a knowledge base is doing: documents, index, queries, storage."""
        id = await self._base(ctx, wanted.id)
        documents = await ctx.db.fetch(_SQL["documents"], id)
        index = await ctx.db.fetchrow(_SQL["index"], id, MOST_COUNTED + 1)
        ingestion = await ctx.db.fetchrow(_SQL["last_ingestion"], ctx.caller.org_id, str(id))
        usage = await ctx.db.fetch(_SQL["usage"], id, ctx.now - timedelta(days=7, hours=1))
        counts = _counts(documents)
        told: dict[str, Any] = {"knowledge_id": str(id), **counts}
        told |= {"chunks": index["chunks"], "terms": index["terms"]}
        told |= {"vocabulary": min(index["vocabulary"], MOST_COUNTED)}
        told |= {"vocabulary_exact": index["vocabulary"] <= MOST_COUNTED}
        told |= {"vectors": await _vectors(ctx.db, index), "last_ingestion": _ingestion(ingestion)}
        told["queries"] = {
            "day": _asked([row for row in usage if row["hour"] > ctx.now - timedelta(days=1, hours=1)]),
            "week": _asked(usage),
        }
        told["storage"] = {"documents_bytes": counts["documents"]["bytes"], "index_bytes": index["index_bytes"]}
        return Shown(orjson.dumps(told).decode())

    @operation(
        "knowledge_queries.list",
        touches="knowledge",
        scope="write:knowledge",
        transaction="read",
        input=ListQueries,
        result=Page,
        shows=LoggedQuery,
    )
    async def queries(self, ctx: Context, wanted: ListQueries) -> Page:
        """List what a knowledge base was asked, newest first, and what was found; a second after it was asked."""
        id = await self._base(ctx, wanted.id)
        first = (wanted.page - 1) * wanted.per_page
        rows = await ctx.db.fetch(
            _SQL["queries"],
            id,
            wanted.per_page,
            first,
            wanted.without_results,
            wanted.helpful,
            wanted.subject,
            MOST_COUNTED + 1,
        )
        items = [_text(row) for row in rows if row["id"] is not None]
        return page_of(items, wanted.page, wanted.per_page, rows[0]["total"])

    @operation(
        "knowledge_queries.judge",
        touches="knowledge",
        scope="read:knowledge",
        transaction="write",
        input=Judge,
        result=Shown,
        body=Judgement,
        shows=Judged,
    )
    async def judge(self, ctx: Context, wanted: Judge) -> Shown:
        """Say whether an answer helped, and by which document; the last word counts."""
        id, query = _permitted(ctx, wanted.id), parse_id(wanted.query)
        said = wanted.body
        row = None
        if query is not None:
            row = await ctx.db.fetchrow(_SQL["judge"], id, query, said.helpful, said.document_id, ctx.now)
        if row is None:
            raise HubError("RESOURCE_NOT_FOUND", "The knowledge base was not asked this, or it is forgotten by now")
        told = {
            "query_id": str(query),
            "helpful": said.helpful,
            "document_id": said.document_id,
            "time": rfc3339(ctx.now),
        }
        return Shown(orjson.dumps(told, default=str).decode())

    async def _base(self, ctx: Context, text: str) -> UUID:
        id = _permitted(ctx, text)
        if await self._bases.find(ctx, id) is None:
            _missing()
        return id


def _permitted(ctx: Context, text: str) -> UUID:
    id = parse_id(text)
    if id is None or not ctx.caller.may_touch(id):
        _missing()
    return id


def _missing() -> NoReturn:
    raise HubError("RESOURCE_NOT_FOUND", "There is no knowledge with this id")


def _counts(rows: Sequence[Any]) -> dict[str, Any]:
    by_status = dict.fromkeys(_STATUSES, 0)
    languages: dict[str, int] = {}
    for row in rows:
        by_status[row["status"]] += row["documents"]
        if row["language"] is not None and row["documents"]:
            languages[row["language"]] = languages.get(row["language"], 0) + row["documents"]
    documents = {"total": sum(by_status.values()), **by_status, "bytes": sum(row["bytes"] for row in rows)}
    return {"documents": documents, "languages": dict(sorted(languages.items()))}


async def _vectors(db: Statements, index: Any) -> dict[str, Any] | None:
    """Tell of the model that questions are asked by, or of the first that is being made; None where there are no vectors."""
    if index["scope"] is None or not await has_vectors(db):
        return None
    row = await db.fetchrow(_SQL["vectors"], index["scope"], MOST_COUNTED + 1)
    if row is None:
        return None
    is_known = row["chunks"] <= MOST_COUNTED and index["chunks"] <= MOST_COUNTED
    share = min(1.0, round(row["chunks"] / max(index["chunks"], 1), 4)) if is_known else None
    return {"model": row["model"], "chunks": min(row["chunks"], MOST_COUNTED), "share": share}


def _ingestion(row: Any) -> dict[str, Any] | None:
    if row is None:
        return None
    times = {name: None if row[name] is None else rfc3339(row[name]) for name in ("started_at", "finished_at")}
    return {"status": row["status"], **times}


def _asked(rows: Sequence[Any]) -> dict[str, Any]:
    times = [sum(row["times"][column] for row in rows) for column in range(COUNT)]
    return {
        "count": sum(row["queries"] for row in rows),
        "without_results": sum(row["without_results"] for row in rows),
        "median_ms": quantile(times, 0.5),
        "p95_ms": quantile(times, 0.95),
    }


def _text(row: Any) -> str:
    told: dict[str, Any] = {"id": str(row["id"])}
    told |= {"knowledge_id": str(row["knowledge_id"]), "time": rfc3339(row["time"])}
    told |= {name: row[name] for name in ("question", "mode", "results")}
    told |= {"documents": [str(each) for each in row["found"]], "best_score": row["best_score"]}
    told |= {"took_ms": row["took_ms"], "subject": row["caller"], "feedback": None}
    if row["helpful"] is not None:
        helped_by = None if row["helped_by"] is None else str(row["helped_by"])
        told["feedback"] = {
            "helpful": row["helpful"],
            "document_id": helped_by,
            "time": rfc3339(row["judged_at"]),
        }
    return orjson.dumps(told).decode()
