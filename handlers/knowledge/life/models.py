"""What is told of a knowledge base's life: its statistics, and what it was asked."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from handlers.lists.models import Word
from handlers.resources.models import Body, GetInput
from handlers.resources.shown import EXAMPLE_ID, EXAMPLE_TIME

_DOCUMENT_ID = "01978f3e-5a72-7c3d-9b42-6f0d2c1e8a55"
_QUERIES: dict[str, JsonValue] = {"count": 0, "without_results": 0, "median_ms": None, "p95_ms": None}
# Of a base that is new.
_STATISTICS: dict[str, JsonValue] = {
    "knowledge_id": EXAMPLE_ID,
    "documents": {"total": 0, "pending": 0, "ready": 0, "failed": 0, "bytes": 0},
    "languages": {},
    "chunks": 0,
    "terms": 0,
    "vocabulary": 0,
    "vocabulary_exact": True,
    "vectors": None,
    "last_ingestion": None,
    "queries": {"day": _QUERIES, "week": _QUERIES},
    "storage": {"documents_bytes": 0, "index_bytes": 0},
}
_QUERY: dict[str, JsonValue] = {
    "id": "01978f3e-5a73-7c3d-9b42-6f0d2c1e8a55",
    "knowledge_id": EXAMPLE_ID,
    "time": EXAMPLE_TIME,
    "question": "How do I install the SDK?",
    "mode": "search",
    "results": 5,
    "documents": [_DOCUMENT_ID],
    "best_score": 11.4,
    "took_ms": 6.2,
    "subject": "user:ada",
    "feedback": {"helpful": True, "document_id": _DOCUMENT_ID, "time": EXAMPLE_TIME},
}


class DocumentCounts(BaseModel):
    """How many documents there are, by status, and the bytes of their current versions."""

    total: int = Field(ge=0)
    pending: int = Field(ge=0)
    ready: int = Field(ge=0)
    failed: int = Field(ge=0)
    bytes: int = Field(ge=0)


class Vectors(BaseModel):
    """Of how many chunks there are vectors of which model; `share` is 1 where all have one, null beyond 100,000: nobody counted."""

    model: str
    chunks: int = Field(ge=0)
    share: Annotated[float, Field(ge=0, le=1)] | None


class Ingestion(BaseModel):
    """The last run that read documents."""

    status: str
    started_at: datetime | None
    finished_at: datetime | None


class Queries(BaseModel):
    """How often a base was asked, and how long that took; times are to 9%, and null where nothing was asked."""

    count: int = Field(ge=0)
    without_results: int = Field(ge=0)
    median_ms: float | None
    p95_ms: float | None


class Spans(BaseModel):
    """The last day, and the last seven: from the whole hour on in which they began."""

    day: Queries
    week: Queries


class Storage(BaseModel):
    """Bytes of the documents as they were sent; and about how many their index takes."""

    documents_bytes: int = Field(ge=0)
    index_bytes: int = Field(ge=0)


class Statistics(BaseModel):
    """How a knowledge base is doing at this moment.

    `terms` counts all words of its chunks, `vocabulary` the different ones, up to 100,000.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_STATISTICS]})

    knowledge_id: UUID
    documents: DocumentCounts
    languages: dict[str, int]
    chunks: int = Field(ge=0)
    terms: int = Field(ge=0)
    vocabulary: int = Field(ge=0)
    vocabulary_exact: bool
    vectors: Vectors | None
    last_ingestion: Ingestion | None
    queries: Spans
    storage: Storage


class Feedback(BaseModel):
    """Whether an answer helped, and which document did."""

    helpful: bool
    document_id: UUID | None
    time: datetime


class LoggedQuery(BaseModel):
    """A question that was asked, and what was found.

    `question` is its beginning, null where questions are not kept; `documents` are the best ones, best first, of a record its base.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_QUERY]})

    id: UUID
    knowledge_id: UUID | None
    time: datetime
    question: str | None
    mode: str
    results: int = Field(ge=0)
    documents: list[UUID]
    best_score: float | None
    took_ms: float
    subject: str
    feedback: Feedback | None


class ListQueries(GetInput):
    """A page of what a base was asked, newest first; each filter that is given must match."""

    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    per_page: Annotated[int, Field(ge=1, le=100)] = 20
    without_results: bool | None = None
    helpful: bool | None = None
    subject: Word | None = None


class Judgement(Body):
    """Whether an answer helped; `document_id` is the document that did, or should have been found."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"helpful": True, "document_id": _DOCUMENT_ID}]})

    helpful: bool
    document_id: Annotated[UUID, Field(strict=False)] | None = None


class Judge(GetInput):
    """One query of a base, and what is said of it."""

    query: str
    body: Judgement


class Judged(BaseModel):
    """What was kept of the feedback."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"query_id": _QUERY["id"], "helpful": True, "document_id": _DOCUMENT_ID, "time": EXAMPLE_TIME}]
        }
    )

    query_id: UUID
    helpful: bool
    document_id: UUID | None
    time: datetime
