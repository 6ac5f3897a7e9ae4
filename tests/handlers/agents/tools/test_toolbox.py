"""Which tools an agent has: by its capabilities, its config, the request, and its servers."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from core.clock import SystemClock
from core.ids import new_id
from core.jobs.jobs import Jobs
from core.outbound import Outbound
from core.seal import Seal
from core.store.database import Database
from handlers.agents.config import DeclaredTool, config_of
from handlers.agents.credentials import Vault
from handlers.agents.models import AgentBody
from handlers.agents.tools.tool import Waits
from handlers.agents.tools.toolbox import MOST_TOOLS, Toolbox, Toolboxes
from handlers.knowledge.retrieval.retriever import Retriever
from tests.handlers.agents.tools.calls import called, rights
from tests.handlers.agents.tools.mcp_server import library, mcp_serving
from tests.harness.organisations import Organisation
from tests.harness.outside import LOOPBACK


class Boxes:
    """Toolboxes of an organisation's agents."""

    def __init__(self, database: Database, organisation: Organisation) -> None:
        outbound, jobs = Outbound(LOOPBACK, SystemClock()), Jobs(SystemClock(), lambda: None)
        self._made = Toolboxes(database, Retriever(), outbound, Vault(Seal("of a test")), jobs, SystemClock())
        self._rights = rights(org_id=organisation.id)

    def open(self, *capabilities: str, more: Sequence[DeclaredTool] = (), **config: Any) -> Any:
        agent = AgentBody(name="A", capabilities=list(capabilities), config=config)
        return self._made.open(new_id(), agent, config_of(agent), self._rights, more)


def names(box: Toolbox) -> set[str]:
    return {each.spec.name for each in box}


@pytest.fixture
async def boxes(database_url: str, organisation: Organisation) -> AsyncIterator[Boxes]:
    database = Database(database_url, role="hub_app", size=2)
    yield Boxes(database, organisation)
    await database.close()


@pytest.mark.parametrize(
    ("capabilities", "tools"),
    [
        ((), {"knowledge_query", "text_processing"}),
        (("friendly",), {"knowledge_query", "text_processing"}),
        (("text_processing",), {"text_processing"}),
        (("http_request", "delegate"), {"http_request", "delegate"}),
        (("twin_simulation",), {"twin_simulation"}),
    ],
    ids=lambda each: "+".join(sorted(each)) or "none",
)
async def test_capabilities_bring_their_tools(boxes: Boxes, capabilities: tuple[str, ...], tools: set[str]):
    """Those that are known; with none of these, the two that reach no further than the organisation."""
    async with boxes.open(*capabilities, http={"allow": ["a.example"]}) as box:
        assert names(box) == tools
        assert box.notes == []


async def test_requests_without_hosts_are_noted(boxes: Boxes):
    """A tool that could call nothing is not there."""
    async with boxes.open("http_request") as box:
        assert names(box) == set()
        assert "config.http.allow" in box.notes[0]


async def test_tools_that_the_caller_runs_wait(boxes: Boxes):
    """Of the config and of the request; one of the request's does not take the place of another."""
    declared = {"name": "weather", "description": "Tells", "approval": True}
    more = [DeclaredTool(name="clock"), DeclaredTool(name="weather", description="Other")]
    async with boxes.open(tools=[declared], more=more) as box:
        assert {"weather", "clock"} < names(box)
        weather, clock = box.named("weather"), box.named("clock")
        assert weather is not None
        assert clock is not None
        assert (weather.spec.description, weather.needs_approval, clock.needs_approval) == ("Tells", True, False)
        assert weather.spec.parameters["type"] == "object"
        assert await called(clock) == Waits()
        assert any("weather is missing" in note for note in box.notes)
    assert box.named("other") is None


async def test_approval_is_asked_where_the_config_says(boxes: Boxes):
    """Of one tool, of a server's, of all."""
    async with boxes.open(approve=["text_processing"]) as box:
        assert {each.spec.name: each.needs_approval for each in box} == {
            "knowledge_query": False,
            "text_processing": True,
        }
    async with boxes.open(approve=["*"]) as box:
        assert all(each.needs_approval for each in box)
        (tool,) = [each for each in box if each.spec.name == "text_processing"]
        assert await called(tool, task="summarize", text="One.")


async def test_servers_bring_their_tools(boxes: Boxes):
    """While the box is open; of one that is away it is noted."""
    async with mcp_serving(library()) as url:
        servers = [{"name": "lib", "url": url}, {"name": "away", "url": "http://127.0.0.1:1/"}]
        async with boxes.open(mcp=servers, approve=["lib__burn"]) as box:
            assert {"lib__find", "lib__burn", "text_processing"} <= names(box)
            assert any("away" in note for note in box.notes)
            burn = box.named("lib__burn")
            assert burn is not None
            assert burn.needs_approval


async def test_tools_are_bounded(boxes: Boxes):
    """Of config and request together."""
    many = [{"name": f"a{number}"} for number in range(64)]
    more = [DeclaredTool(name=f"b{number}") for number in range(100)]
    async with boxes.open(tools=many, more=more) as box:
        assert len(box) == MOST_TOOLS
        assert box.notes
