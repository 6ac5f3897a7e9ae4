"""Answers without a model: what is asked is quoted with its source, and what nobody knows is said to be unknown."""

from pathlib import Path
from uuid import UUID

import pytest

from core.ids import new_id
from handlers.knowledge.answering.answers import quoted_answer
from handlers.knowledge.answering.extractive import UNKNOWN, extract
from handlers.knowledge.answering.models import Answer
from handlers.knowledge.parsing.parse import parse
from tests.handlers.knowledge.retrieval.library import Library, chunk

ROOT = Path(__file__).resolve().parents[4]
JANE = {
    "FirstName": "Jane",
    "LastName": "Doe",
    "Email": "jane.doe@acme.example",
    "Company": "Acme Rockets",
    "Phone": "+49 30 1234",
}
JOHN = {
    "FirstName": "John",
    "LastName": "Roe",
    "Email": "john@globex.example",
    "Company": "Globex",
    "Phone": "+1 555 0100",
}


async def answer(library: Library, question: str, *bases: UUID) -> Answer:
    return quoted_answer(extract(await library.find(question, *bases, limit=8)))


@pytest.fixture
async def guide(library: Library) -> UUID:
    base = new_id()
    await library.document(
        base,
        "docs/sdk.md",
        chunk(
            "The SDK needs Python 3.11 or later.\n\nInstall it with pip:\n\n    pip install aimatrix",
            "Python SDK",
            "Installation",
        ),
        chunk("Agents are created by client.agents.create. Each has a name and a type.", "Python SDK", "Agents"),
    )
    await library.document(base, "docs/limits.md", chunk("A free organisation has 1000 requests an hour.", "Limits"))
    await library.fold()
    return base


async def test_answer_quotes_and_cites_the_right_page(library: Library, guide: UUID):
    """With the block of code that the sentence leads to; each quote stands so in the text."""
    said = await answer(library, "How do I install the SDK?", guide)
    assert said.supported
    assert "pip install aimatrix" in said.text
    assert [(each.name, each.place.headings) for each in said.citations] == [
        ("docs/sdk.md", ["Python SDK", "Installation"])
    ]
    assert said.text.rstrip().endswith("[1]")


async def test_heading_within_a_text_is_no_answer(library: Library):
    """Small sections share a chunk, with their headings in its text: what stands below one is quoted."""
    base = new_id()
    text = (
        "All is plain HTTP.\n\nInstalling the SDK\n\nNone is published yet. Make one out of the document of your own hub:\n\n"
        "    npx generate -o sdk\n\nOpening hours\n\nWeekdays"
    )
    await library.document(base, "docs/clients.md", chunk(text, "Clients"))
    await library.fold()
    said = await answer(library, "How do I install the SDK?", base)
    assert "Make one out of the document of your own hub:" in said.text
    assert "npx generate -o sdk" in said.text
    assert "Installing the SDK" not in said.text
    # The last line of a text has nothing below it that it could be the heading of.
    assert (await answer(library, "Which weekdays?", base)).text.endswith("Weekdays [1]")


async def test_question_in_a_text_is_quoted_with_its_answer(library: Library):
    """And with what that answer leads to."""
    base = new_id()
    text = "Ask us.\n\nHow do I install the SDK? Run this:\n\n    pip install aimatrix\n\nMore is below."
    await library.document(base, "faq.md", chunk(text, "Questions"))
    await library.fold()
    said = (await answer(library, "How do I install the SDK?", base)).text
    assert "Run this:" in said
    assert "pip install aimatrix" in said
    assert "More is below." not in said


@pytest.mark.parametrize(
    "question",
    [
        "What is the capital of France?",
        "How do I install the SDK on OS/2?",
        "How many requests an hour has a platinum organisation in 2031?",
        "Does the SDK support MongoDB?",
    ],
)
async def test_what_no_text_says_is_unknown(library: Library, guide: UUID, question: str):
    """Also where all but one name or number of the question is in the texts."""
    said = await answer(library, question, guide)
    assert (said.supported, said.text, said.citations) == (False, UNKNOWN, [])


async def test_nothing_is_known_of_an_empty_base(library: Library):
    assert not (await answer(library, "How do I install the SDK?", new_id())).supported


@pytest.mark.parametrize(
    ("question", "value"),
    [
        ("What is Jane Doe's email?", "jane.doe@acme.example"),
        ("Which company does John work for at?", None),
        ("phone of Jane Doe", "+49 30 1234"),
        ("What is the email of John Roe?", "john@globex.example"),
    ],
)
async def test_field_of_a_record_is_answered_exactly(library: Library, question: str, value: str | None):
    """With that value and nothing else, out of all records."""
    for name, data in (("Jane Doe", JANE), ("John Roe", JOHN)):
        await library.record(name, data)
    await library.fold()
    said = await answer(library, question)
    if value is not None:
        assert said.text == f"{value} [1]"
        assert value in said.citations[0].quote


async def test_field_of_somebody_else_is_unknown(library: Library):
    """What one contact has is no answer to a question about another."""
    await library.record("Jane Doe", JANE)
    await library.fold()
    assert not (await answer(library, "What is McPherson's email?")).supported


async def test_questions_about_the_own_documentation(library: Library):
    """Over README and docs/: each page is cited that a person would open, and what is not there is unknown."""
    base = new_id()
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        parsed = parse(path.read_bytes(), "text/markdown", path.name)
        await library.document(base, str(path.relative_to(ROOT)), *parsed.chunks, language=parsed.language)
    await library.fold()
    for question, page in (
        ("What happens to a slow reader?", "docs/operating.md"),
        ("What is the ping interval?", "docs/protocol.md"),
        ("How do I install the SDK?", "docs/clients.md"),
        ("Which header signs a webhook?", "docs/webhooks.md"),
    ):
        said = await answer(library, question, base)
        assert said.supported, question
        assert page in {each.name for each in said.citations}, (question, said)
    for question in ("Who won the 1998 World Cup?", "How do I bake sourdough bread?", "Does it replicate to MongoDB?"):
        assert not (await answer(library, question, base)).supported, question
