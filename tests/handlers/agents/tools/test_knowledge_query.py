"""Knowledge is asked as queries are: numbered passages, a quoted answer, citations; within the rights of whom it is for."""

from typing import Any
from uuid import UUID

import orjson
import pytest

from core.ids import new_id
from handlers.agents.models import AgentBody
from handlers.agents.tools.knowledge_query import KnowledgeQuery
from handlers.agents.tools.tool import LONGEST_OUTPUT, Calling, ToolError, ToolResult
from handlers.knowledge.answering.extractive import UNKNOWN
from tests.handlers.agents.tools.calls import called, calling, rights
from tests.handlers.knowledge.retrieval.library import Library, chunk

QUESTION = "How do I install the SDK?"


def tool(library: Library) -> KnowledgeQuery:
    return KnowledgeQuery(library.database, library.retriever)


def by(library: Library, *bases: UUID, **some: Any) -> Calling:
    """Return a call of an agent that names these bases."""
    first = some.pop("first", 1)
    agent = AgentBody(name="Support", knowledge=list(bases))
    return calling(agent=agent, rights=rights(org_id=library.org_id, **some), first_citation=first)


async def asked(
    library: Library, at: Calling, question: str = QUESTION, **more: Any
) -> tuple[dict[str, Any], ToolResult]:
    result = await called(tool(library), at, question=question, **more)
    assert isinstance(result, ToolResult)
    return orjson.loads(result.content), result


@pytest.fixture
async def guide(library: Library) -> UUID:
    base = new_id()
    await library.document(
        base,
        "docs/sdk.md",
        chunk("Install the SDK with pip install aimatrix.", "Python SDK", "Installation"),
        chunk("Agents are created by client.agents.create.", "Python SDK", "Agents"),
    )
    await library.document(base, "docs/limits.md", chunk("The SDK may send 1000 requests an hour.", "Limits"))
    await library.fold()
    return base


async def test_passages_and_quoted_answer_have_the_same_numbers(library: Library, guide: UUID):
    """From the one that the run has reached; the citations too."""
    said, result = await asked(library, by(library, guide, first=7))
    assert said["supported"]
    numbers = [each["n"] for each in said["passages"]]
    assert numbers[0] == 7
    assert numbers == [each.index for each in result.citations]
    quoted = next(each for each in said["passages"] if "pip install" in each["text"])
    assert said["quoted"] == f"Install the SDK with pip install aimatrix. [{quoted['n']}]"
    cited = next(each for each in result.citations if each.index == quoted["n"])
    assert (cited.name, cited.quote, cited.knowledge_id) == (
        "docs/sdk.md",
        "Install the SDK with pip install aimatrix.",
        guide,
    )
    assert quoted["place"] == "Python SDK > Installation"


async def test_nothing_that_answers_is_said(library: Library, guide: UUID):
    """And is no failure."""
    said, result = await asked(library, by(library, guide), "Who won the election of 1789?")
    assert (said["quoted"], said["supported"]) == (UNKNOWN, False)
    nothing, _ = await asked(library, by(library, new_id()))
    assert nothing == {"passages": [], "quoted": UNKNOWN, "supported": False}
    assert not any("election" in each.quote for each in result.citations)


async def test_bases_that_an_agent_names_are_read_for_everybody(library: Library, guide: UUID):
    """They are its author's grant; other bases are not asked."""
    other = new_id()
    await library.document(other, "other.md", "Install the SDK by hand.")
    await library.fold()
    said, _ = await asked(library, by(library, guide, scopes=frozenset(), resource_ids=frozenset()))
    assert {each["name"] for each in said["passages"]} <= {"docs/sdk.md", "docs/limits.md"}
    assert said["supported"]


async def test_agent_that_names_no_base_reads_what_its_user_may(library: Library, guide: UUID):
    """All of the organisation's, or those that a key is restricted to; none without the scope."""
    other = new_id()
    await library.document(other, "other.md", "Install the SDK by hand.")
    await library.fold()
    said, _ = await asked(library, by(library))
    assert {"other.md", "docs/sdk.md"} <= {each["name"] for each in said["passages"]}
    said, _ = await asked(library, by(library, resource_ids=frozenset({other})))
    assert {each["name"] for each in said["passages"]} == {"other.md"}
    with pytest.raises(ToolError, match="read:knowledge"):
        await asked(library, by(library, scopes=frozenset({"write:agents"})))


async def test_other_organisations_are_out_of_reach(library: Library, guide: UUID):
    """Whatever base an agent names."""
    agent = AgentBody(name="Spy", knowledge=[guide])
    at = calling(agent=agent, rights=rights(org_id=new_id()))
    assert (await asked(library, at))[0]["passages"] == []


async def test_result_fits_whatever_the_passages_have(library: Library):
    """Long ones, of characters that JSON needs six for."""
    base = new_id()
    await library.document(base, "long.md", *(f"install number {number} " + "\x01" * 3_900 for number in range(20)))
    await library.fold()
    said, result = await asked(library, by(library, base), "install number", max_results=20)
    assert len(result.content) <= LONGEST_OUTPUT
    assert len(said["passages"]) == 20
