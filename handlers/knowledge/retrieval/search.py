"""What is searched for, and what is found. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from handlers.knowledge.parsing.parsed import ChunkKind, Place


@dataclass(frozen=True, slots=True)
class Search:
    """A question to knowledge bases; `bases` None means all of the organisation's that the caller may read.

    `filter` must all be in a document's metadata (a record's data). `limit` is 1 to 100.
    """

    question: str
    bases: tuple[UUID, ...] | None = None
    limit: int = 5
    filter: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that was found. `document_id` None: the record of its base itself, whose `name` is the base's.

    `score` is higher for better, and compares within one answer only. `lexical` and `vector` are its ranks (from 1) in either list.
    `matched` are the question's words that it has, as they stand in `text`.
    """

    chunk_id: int
    knowledge_id: UUID
    document_id: UUID | None
    name: str
    title: str | None
    url: str | None
    metadata: Mapping[str, Any]
    ordinal: int
    kind: ChunkKind
    language: str
    text: str
    place: Place
    score: float
    lexical: int | None = None
    vector: int | None = None
    matched: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AskedWord:
    """A word of the question: the terms that it is found by, and its weight (idf), which is higher the rarer it is in the bases.

    One that is in no text has the weight of the rarest, and is not `known`, also where something else is found in its place.
    """

    word: str
    terms: tuple[str, ...]
    weight: float
    known: bool


@dataclass(frozen=True, slots=True)
class Found:
    """Best first. `corrected` maps words of the question that no text has to what was searched for instead."""

    hits: list[Hit]
    corrected: Mapping[str, str]
    words: tuple[AskedWord, ...] = ()
