"""What is searched, what is asked, and what should be found."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.retrieval.sections import Sections
from benchmarks.server import CHECKOUT
from handlers.knowledge.parsing.parsed import Place

QUESTIONS = Path(__file__).with_name("questions.json")


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it is given to a knowledge base."""

    name: str
    content_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, and the units that answer it."""

    question: str
    relevant: frozenset[str]


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """`units` says which units a chunk of a document is of; these are ranked, each by its best chunk."""

    key: str
    says: str
    documents: list[Document]
    questions: list[Asked]
    units: Callable[[str, Place], list[str]]


def own_docs() -> EvaluationSet:
    """Return this project's docs, with the questions of questions.json; a section of a page is a unit."""
    pages = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md"))]
    documents = [Document(str(page.relative_to(CHECKOUT)), "text/markdown", page.read_bytes()) for page in pages]
    sections = {each.name: Sections(each.name, each.content.decode()) for each in documents}
    questions = [Asked(each["question"], frozenset(each["relevant"])) for each in json.loads(QUESTIONS.read_text())]
    return EvaluationSet(
        "questions",
        f"100 questions as people ask, on this project's own docs ({len(documents)} pages; a section is found)",
        documents,
        questions,
        lambda name, place: sections[name].within(place),
    )


def whole_pages(of: EvaluationSet) -> EvaluationSet:
    """Return a set of sections as one of pages."""
    questions = [
        Asked(each.question, frozenset(unit.partition("#")[0] for unit in each.relevant)) for each in of.questions
    ]
    return EvaluationSet(f"{of.key} by page", "the same, a page is found", of.documents, questions, page_of)


def page_of(name: str, _place: Place) -> list[str]:
    """Return a chunk's document as its unit."""
    return [name]
