"""Work is handed to agents that there are, that the run may ask, and not deeper than it may go."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from core.ids import new_id
from core.store.database import Database
from handlers.agents.config import AgentConfig
from handlers.agents.tools.delegate import MOST_NAMED, Delegate, delegate_of
from handlers.agents.tools.tool import Delegation, Rights, ToolError
from tests.handlers.agents.tools.calls import called, calling, rights
from tests.harness.organisations import Organisation

_AGENT = """
INSERT INTO agents (org_id, id, version, name, type, status, created_at, updated_at, document, search)
VALUES (current_org(), $1, 1, $2, 'assistant', 'active', now(), now(), '{}', '')
"""


class Office:
    """Agents of an organisation."""

    def __init__(self, database: Database, organisation: Organisation) -> None:
        self.database = database
        self.rights = rights(org_id=organisation.id)

    async def agent(self, name: str) -> UUID:
        id = new_id()
        async with self.database.transaction(self.rights.org_id) as db:
            await db.execute(_AGENT, id, name)
        return id

    async def tool(self, of: UUID, by: Rights | None = None, /, *agents: UUID, depth: int = 4) -> Delegate:
        config = AgentConfig(agents=list(agents), depth=depth)
        return await delegate_of(self.database, of, config, by or self.rights)


@pytest.fixture
async def office(database_url: str, organisation: Organisation) -> AsyncIterator[Office]:
    database = Database(database_url, role="hub_app", size=2)
    yield Office(database, organisation)
    await database.close()


async def test_agent_is_named_by_its_id_or_its_name(office: Office):
    """The model is told whom there is, but not itself."""
    boss, writer = await office.agent("Boss"), await office.agent("The  Writer")
    tool = await office.tool(boss)
    assert f"{writer} (The Writer)" in tool.spec.description
    assert str(boss) not in tool.spec.description
    at = calling(rights=office.rights)
    assert await called(tool, at, agent=str(writer), query="Write") == Delegation(writer, "Write")
    assert await called(tool, at, agent="the  writer", query="Write") == Delegation(writer, "Write")
    with pytest.raises(ToolError, match="No agent"):
        await called(tool, at, agent="Nobody", query="Write")
    with pytest.raises(ToolError, match="no agent with this id"):
        await called(tool, at, agent=str(new_id()), query="Write")


async def test_only_those_of_the_config_are_asked(office: Office):
    """Its author has chosen them, also for those who may not touch them."""
    boss, writer, other = [await office.agent(name) for name in ("Boss", "Writer", "Other")]
    restricted = rights(org_id=office.rights.org_id, resource_ids=frozenset({boss}))
    tool = await office.tool(boss, restricted, writer)
    assert await called(tool, calling(rights=restricted), agent="Writer", query="Go") == Delegation(writer, "Go")
    with pytest.raises(ToolError):
        await called(tool, calling(rights=restricted), agent=str(other), query="Go")


async def test_without_a_choice_the_rights_decide(office: Office):
    """Of a restricted key and of another organisation."""
    boss, writer = await office.agent("Boss"), await office.agent("Writer")
    restricted = rights(org_id=office.rights.org_id, resource_ids=frozenset({boss}))
    tool = await office.tool(boss, restricted)
    assert "Writer" not in tool.spec.description
    with pytest.raises(ToolError):
        await called(tool, calling(rights=restricted), agent=str(writer), query="Go")
    stranger = rights()
    with pytest.raises(ToolError):
        await called(await office.tool(boss, stranger), calling(rights=stranger), agent=str(writer), query="Go")


async def test_depth_ends_a_chain(office: Office):
    """Agents that delegate to each other end here, at last."""
    boss, writer = await office.agent("Boss"), await office.agent("Writer")
    tool = await office.tool(boss, depth=2)
    for depth in (0, 1):
        assert await called(tool, calling(rights=office.rights, depth=depth), agent=str(writer), query="Go")
    with pytest.raises(ToolError, match="2 delegations deep"):
        await called(tool, calling(rights=office.rights, depth=2), agent=str(writer), query="Go")


async def test_model_is_told_of_so_many_and_can_ask_others(office: Office):
    """And two of one name are told apart by their ids."""
    boss = await office.agent("Boss")
    oldest = await office.agent("Twin")
    for _ in range(MOST_NAMED):
        await office.agent("Twin")
    tool = await office.tool(boss)
    assert str(oldest) not in tool.spec.description
    assert await called(tool, calling(rights=office.rights), agent=str(oldest), query="Go") == Delegation(oldest, "Go")
    with pytest.raises(ToolError, match="several"):
        await called(tool, calling(rights=office.rights), agent="Twin", query="Go")
    with pytest.raises(ToolError, match="KiB"):
        await called(tool, calling(rights=office.rights), agent=str(oldest), query="é" * 40_000)
