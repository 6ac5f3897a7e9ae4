"""Vectors in PostgreSQL: what lacks them, what has them, and which are near."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

from core.store.queries import load_queries
from core.store.statements import Statements
from handlers.knowledge.embedding.embedder import Floats

SQL = load_queries(Path(__file__).with_name("vectors.sql"))
# Scopes up to so many chunks together are compared whole: docs/architecture.md, "Vectors".
FEW_CHUNKS = 20_000


@dataclass(frozen=True, slots=True)
class Model:
    """A model as the tables know it."""

    id: int
    name: str
    dimensions: int


@dataclass(frozen=True, slots=True)
class Lacking:
    """A chunk without a vector; `text` is what is embedded of it: the headings above it, then its own text."""

    id: int
    text: str


@dataclass(frozen=True, slots=True)
class Near:
    """A chunk that is near a question; `similarity` is the cosine of the angle between, up to 1."""

    chunk_id: int
    similarity: float


@dataclass(frozen=True, slots=True)
class Progress:
    """Of a scope and a model: chunks with a vector, and those that the model refuses. `is_asked`: by it questions are asked."""

    scope: int
    name: str
    dimensions: int
    embedded: int
    refused: int
    is_asked: bool


async def has_vectors(db: Statements) -> bool:
    """Tell whether the database has pgvector and the table."""
    return await db.fetchval(SQL["has_vectors"])


async def model_of(db: Statements, name: str, dimensions: int) -> Model:
    """Return the model, which is noted where it is new."""
    return Model(await db.fetchval(SQL["model"], name, dimensions), name, dimensions)


async def lacking_of_document(
    db: Statements, model: Model, knowledge_id: UUID, document_id: UUID | None, limit: int
) -> list[Lacking]:
    """Return chunks of a document (None: of the base's own record) without a vector of the model, in their order."""
    if document_id is None:
        return _lacking(await db.fetch(SQL["lacking_of_record"], knowledge_id, model.id, limit))
    return _lacking(await db.fetch(SQL["lacking_of_document"], knowledge_id, document_id, model.id, limit))


async def lacking_of_scope(db: Statements, model: Model, scope: int, after: int, limit: int) -> list[Lacking]:
    """Return chunks of a scope without a vector of the model whose id is over `after`, lowest first."""
    return _lacking(await db.fetch(SQL["lacking_of_scope"], scope, model.id, after, limit))


async def put(db: Statements, model: Model, rows: Mapping[int, Floats | None]) -> None:
    """Keep vectors by their chunks' ids; None is a chunk that the model refuses. A chunk that is gone is left out."""
    texts = [None if row is None else _written(row) for row in rows.values()]
    await db.execute(SQL["put"], model.id, model.dimensions, list(rows), texts)


async def switch(db: Statements, model: Model, scope: int) -> None:
    """From the transaction's end on, ask questions to the scope by this model."""
    await db.execute(SQL["switch"], scope, model.id)


async def remove_others(db: Statements, model: Model, scope: int, limit: int) -> int:
    """Remove vectors of other models from a scope, `limit` at most; returns how many they were."""
    return await db.fetchval(SQL["remove_others"], scope, model.id, limit)


async def asked_by(db: Statements, scopes: Sequence[int]) -> dict[Model, list[int]]:
    """Return by which models questions to these scopes are asked; a scope without vectors is in none."""
    found: dict[Model, list[int]] = {}
    for row in await db.fetch(SQL["scopes"], scopes):
        found.setdefault(Model(row["model"], row["name"], row["dimensions"]), []).append(row["scope"])
    return found


async def progress(db: Statements, scopes: Sequence[int]) -> list[Progress]:
    """Return how far each scope is in each model that it has vectors of."""
    return [Progress(**row) for row in await db.fetch(SQL["progress"], scopes)]


async def near(
    db: Statements,
    scopes: Sequence[int],
    model: Model,
    question: Floats,
    limit: int,
    *,
    only: Sequence[int] | None = None,
    filter: str | None = None,
    few: int = FEW_CHUNKS,
) -> list[Near]:
    """Return the nearest chunks, best first: of `only`, where it is there, and of what has all of `filter` (JSON)."""
    rows = await db.fetch(SQL["near"], scopes, model.id, _written(question), limit, few, only, filter)
    return [Near(row["chunk_id"], row["similarity"]) for row in rows]


def _lacking(rows: Sequence[Any]) -> list[Lacking]:
    return [
        Lacking(row["id"], embedded_text(row["text"], orjson.loads(row["place"]).get("headings", ()))) for row in rows
    ]


def embedded_text(text: str, headings: Sequence[str]) -> str:
    """Return what is embedded of a chunk: a part of a page means what the headings above it say that it is about."""
    return "\n".join((" > ".join(headings), text)) if headings else text


def _written(row: Floats) -> str:
    """Return a vector as pgvector reads it; halfvec keeps four digits at most."""
    return "[" + ("%.5g," * len(row) % tuple(row.tolist()))[:-1] + "]"
