"""Questions as clients ask them, and what they get."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from handlers.described import WITHOUT_NUL, Described
from handlers.resources.models import KeptMetadata, Slug
from handlers.resources.shown import EXAMPLE_ID

LONGEST_QUESTION = 65_536
MOST_RESULTS = 100
_DOCUMENT_ID = "01978f3e-5a75-7c3d-9b42-6f0d2c1e8a55"
_PLACE: dict[str, JsonValue] = {
    "headings": ["Python SDK", "Installation"],
    "page": None,
    "first_line": 12,
    "last_line": 20,
    "record": None,
}
_TEXT = "Install the SDK with pip install aimatrix."
_RESULT: dict[str, JsonValue] = {
    "score": 9.81,
    "knowledge_id": EXAMPLE_ID,
    "document_id": _DOCUMENT_ID,
    "name": "docs/sdk.md",
    "title": "Python SDK",
    "url": None,
    "content": _TEXT,
    "snippet": {"text": _TEXT, "highlights": [[0, 7], [12, 15]]},
    "place": _PLACE,
    "metadata": {"team": "docs"},
}
_CITATION: dict[str, JsonValue] = {
    "index": 1,
    "knowledge_id": EXAMPLE_ID,
    "document_id": _DOCUMENT_ID,
    "name": "docs/sdk.md",
    "title": "Python SDK",
    "url": None,
    "place": _PLACE,
    "quote": _TEXT,
}


def _says_something(text: str) -> str:
    if "\x00" in text:
        raise ValueError("NUL characters are not allowed")
    if not text.strip():
        raise ValueError("Must not be empty")
    return text


QuestionText = Annotated[
    str,
    StringConstraints(min_length=1, max_length=LONGEST_QUESTION),
    AfterValidator(_says_something),
    Described("pattern", r"^[^\u0000]*[^\s\u0000][^\u0000]*$"),
    WITHOUT_NUL,
]


class Question(BaseModel):
    """What is asked, how many results are wanted, and whether an answer is made of them.

    `filter` must all be in a document's metadata, or a record's data. With `stream` it comes as server-sent events: `results`, then
    of an answer `answer.delta` as it is written, and `answer.completed`, which counts.
    """

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {
                    "question": "How do I install the SDK?",
                    "max_results": 5,
                    "include_metadata": True,
                    "mode": "answer",
                    "filter": {"team": "docs"},
                }
            ]
        },
    )

    question: QuestionText
    max_results: int = Field(5, ge=1, le=MOST_RESULTS)
    include_metadata: bool = True
    mode: Literal["search", "answer"] = "search"
    stream: bool = False
    filter: KeptMetadata | None = None


class QueryBase(Question):
    """A question to one knowledge base."""

    id: str


class QueryAll(Question):
    """A question to several bases, or, without `knowledge`, to all that the caller may read; `type`: to those of one type."""

    knowledge: list[Annotated[UUID, Field(strict=False)]] | None = Field(default=None, min_length=1, max_length=100)
    type: Slug | None = None


class ShownPlace(BaseModel):
    """Where a text stands in its document; `record` names a row or an entry."""

    headings: list[str]
    page: int | None
    first_line: int | None
    last_line: int | None
    record: str | None


class Snippet(BaseModel):
    """The part of a text that fits best; `highlights` are places of the question's words in it, in characters (code points)."""

    text: str
    # Pairs; OpenAPI 3.0 has no tuples.
    highlights: list[Annotated[list[int], Field(min_length=2, max_length=2)]]


class Result(BaseModel):
    """A text that was found. `document_id` is null where it is the base's own record; `score` compares within one answer."""

    model_config = ConfigDict(json_schema_extra={"examples": [_RESULT]})

    score: float
    knowledge_id: UUID
    document_id: UUID | None
    name: str
    title: str | None
    url: str | None
    content: str
    snippet: Snippet
    place: ShownPlace
    metadata: dict[str, Any] | None = None


class Citation(BaseModel):
    """What an answer stands on: `[1]` in its text is the one with index 1; `quote` stands so in the document."""

    model_config = ConfigDict(json_schema_extra={"examples": [_CITATION]})

    index: int = Field(ge=1)
    knowledge_id: UUID
    document_id: UUID | None
    name: str
    title: str | None
    url: str | None
    place: ShownPlace
    quote: str


class Answer(BaseModel):
    """An answer; where nothing that was found supports one, `supported` is false and the text says so.

    `generated`: a model has written it, else it is quoted; `notice` tells why, where a model should have.
    """

    text: str
    supported: bool
    generated: bool
    citations: list[Citation]
    notice: str | None = None


class QueryResult(BaseModel):
    """What was found, best first. `corrected` maps words that are in no text to what was searched for instead.

    By `query_id` the question stands in the log, and feedback names it.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "query_id": "01978f3e-5a73-7c3d-9b42-6f0d2c1e8a55",
                    "question": "How do I install the SDK?",
                    "mode": "answer",
                    "results": [_RESULT],
                    "corrected": {},
                    "answer": {
                        "text": f"{_TEXT} [1]",
                        "supported": True,
                        "generated": False,
                        "citations": [_CITATION],
                        "notice": None,
                    },
                    "took_ms": 6.2,
                }
            ]
        }
    )

    query_id: UUID
    question: str
    mode: Literal["search", "answer"]
    results: list[Result]
    corrected: dict[str, str]
    answer: Answer | None = None
    took_ms: float
