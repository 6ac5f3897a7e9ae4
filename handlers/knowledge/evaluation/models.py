"""Questions whose documents are known, and how well a knowledge base is searched by them."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from handlers.described import WITHOUT_NUL
from handlers.knowledge.answering.models import QuestionText
from handlers.knowledge.evaluation.measures import NDCG_DEPTH
from handlers.lists.models import is_storable
from handlers.resources.shown import EXAMPLE_ID

MOST_QUESTIONS = 200
MOST_RELEVANT = 100
# Twice that is what recall looks at; a search gives 100 texts, of fewer documents.
MOST_DEPTH = 25
# All questions of one request together: what is asked costs by its words.
MOST_CHARACTERS = 200_000
_ASKED: dict[str, JsonValue] = {"question": "How do I install the SDK?", "relevant": ["docs/sdk.md"]}
_JUDGED: dict[str, JsonValue] = {
    "question": "How do I install the SDK?",
    "ndcg": 0.6309,
    "recall": 1.0,
    "reciprocal_rank": 0.5,
    "ranks": {"docs/sdk.md": 2},
    "found": ["docs/start.md", "docs/sdk.md"],
}

DocumentName = Annotated[
    str, StringConstraints(min_length=1, max_length=1_000), AfterValidator(is_storable), WITHOUT_NUL
]


class Asked(BaseModel):
    """A question and the documents that answer it, by name or id; where a record does, it is the base's own name or id."""

    model_config = ConfigDict(extra="forbid", strict=True)

    question: QuestionText
    relevant: list[DocumentName] = Field(min_length=1, max_length=MOST_RELEVANT)


class Questions(BaseModel):
    """Up to 200 questions; `k` is how many documents nDCG looks at, recall looks at twice as many."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"questions": [_ASKED], "k": NDCG_DEPTH}]}
    )

    questions: list[Asked] = Field(min_length=1, max_length=MOST_QUESTIONS)
    k: int = Field(NDCG_DEPTH, ge=1, le=MOST_DEPTH)


class Evaluate(Questions):
    """Questions to one knowledge base."""

    id: str


class JudgedQuestion(BaseModel):
    """How a question went: the rank of each relevant document, null where it was not found; `found`, the first k, best first."""

    model_config = ConfigDict(json_schema_extra={"examples": [_JUDGED]})

    question: str
    ndcg: float = Field(ge=0, le=1)
    recall: float = Field(ge=0, le=1)
    reciprocal_rank: float = Field(ge=0, le=1)
    ranks: dict[str, int | None]
    found: list[str]


class Evaluation(BaseModel):
    """The means over all questions, and each question. `unknown` are relevant documents that the base does not have."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "knowledge_id": EXAMPLE_ID,
                    "k": NDCG_DEPTH,
                    "ndcg": 0.6309,
                    "recall": 1.0,
                    "mrr": 0.5,
                    "questions": [_JUDGED],
                    "unknown": [],
                    "took_ms": 8.4,
                }
            ]
        }
    )

    knowledge_id: str
    k: int
    ndcg: float = Field(ge=0, le=1)
    recall: float = Field(ge=0, le=1)
    mrr: float = Field(ge=0, le=1)
    questions: list[JudgedQuestion]
    unknown: list[str]
    took_ms: float


def shown(of: Evaluation) -> dict[str, Any]:
    """Return an evaluation as its answer has it."""
    return of.model_dump(mode="json")
