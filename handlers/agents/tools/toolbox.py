"""Which tools an agent has in a run."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload
from uuid import UUID

import structlog

from core.clock import Clock
from core.jobs.jobs import Jobs
from core.outbound import Outbound
from core.store.database import Database
from handlers.agents.config import CAPABILITIES, USUAL_CAPABILITIES, AgentConfig, DeclaredTool
from handlers.agents.credentials import Vault
from handlers.agents.models import AgentBody
from handlers.agents.tools.caller import CallerTool
from handlers.agents.tools.delegate import delegate_of
from handlers.agents.tools.http_request import HttpRequest
from handlers.agents.tools.knowledge_query import KnowledgeQuery
from handlers.agents.tools.text_processing import TextProcessing
from handlers.agents.tools.tool import Calling, Delegation, Rights, Tool, ToolResult, Waits
from handlers.agents.tools.twin_simulation import twin_simulation_of
from handlers.knowledge.retrieval.retriever import Retriever
from handlers.models.model import ToolSpec
from handlers.twins.simulations.asking import Asking

if TYPE_CHECKING:
    from handlers.agents.tools.mcp_servers import McpConnection

# Models choose badly among more, and some endpoints refuse them.
MOST_TOOLS = 128
_MOST_LOGGED = 10
_CLOSED = "what the server knows the agent by cannot be opened; send it anew"


@dataclass(frozen=True, slots=True)
class AskedFirst:
    """A tool that a person is asked about before each call."""

    tool: Tool
    needs_approval: bool = True

    @property
    def spec(self) -> ToolSpec:
        """The tool's own."""
        return self.tool.spec

    async def call(self, calling: Calling, arguments: Mapping[str, Any]) -> ToolResult | Delegation | Waits:
        """Do it: the runtime has asked."""
        return await self.tool.call(calling, arguments)


@dataclass(frozen=True, slots=True)
class Toolbox(Sequence[Tool]):
    """The tools of a run, their names unique; `notes` tell what is missing of what the agent should have, and why."""

    tools: Sequence[Tool]
    notes: Sequence[str] = field(default=())

    def named(self, name: str) -> Tool | None:
        """Return a tool by its name."""
        return next((each for each in self.tools if each.spec.name == name), None)

    @overload
    def __getitem__(self, index: int) -> Tool: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Tool]: ...
    def __getitem__(self, index: int | slice) -> Tool | Sequence[Tool]:
        return self.tools[index]

    def __len__(self) -> int:
        return len(self.tools)


class Toolboxes:
    """Makes the toolboxes of runs.

    `outbound` calls what agents call outside, `vault` has what servers know them by, `jobs` do what they simulate.
    """

    def __init__(
        self, database: Database, retriever: Retriever, outbound: Outbound, vault: Vault, jobs: Jobs, clock: Clock
    ) -> None:
        self._database = database
        self._retriever = retriever
        self._outbound = outbound
        self._vault = vault
        self._clock = clock
        self._asking = Asking(database, jobs, clock)

    @asynccontextmanager
    async def open(
        self,
        agent_id: UUID,
        agent: AgentBody,
        config: AgentConfig,
        rights: Rights,
        more: Sequence[DeclaredTool] = (),
    ) -> AsyncGenerator[Toolbox]:
        """Give an agent's tools; `more` are those that the request brings. Servers are connected to for as long as it is open.

        Tools of a request do not take the place of the agent's own.
        """
        notes: list[str] = []
        tools: list[Tool] = [each async for each in self._own(agent_id, agent, config, rights, notes)]
        tools += (CallerTool(each) for each in (*config.tools, *more))
        async with AsyncExitStack() as stack:
            if config.mcp:
                headers = await self._headers(agent_id, config, rights, notes)
                client = await asyncio.to_thread(_client)
                connections = await stack.enter_async_context(client.connected(config.mcp, self._outbound, headers))
                tools += _of_servers(connections, notes)
            chosen = _chosen(tools, config, notes)
            if notes:
                structlog.get_logger().info("tools_missing", agent=str(agent_id), notes=notes[:_MOST_LOGGED])
            yield Toolbox(chosen, notes)

    async def _headers(
        self, agent_id: UUID, config: AgentConfig, rights: Rights, notes: list[str]
    ) -> Mapping[str, Mapping[str, str] | None]:
        if not any(each.fields for each in config.mcp):
            return {}
        async with self._database.read(rights.org_id) as db:
            headers = await self._vault.headers(db, rights.org_id, agent_id, config.mcp)
        closed = [name for name, each in headers.items() if each is None]
        notes += (f"The tools of {name} are missing: {_CLOSED}" for name in closed)
        return headers

    async def _own(
        self, agent_id: UUID, agent: AgentBody, config: AgentConfig, rights: Rights, notes: list[str]
    ) -> AsyncGenerator[Tool]:
        able = frozenset(agent.capabilities).intersection(CAPABILITIES) or USUAL_CAPABILITIES
        if "knowledge_query" in able:
            yield KnowledgeQuery(self._database, self._retriever)
        if "text_processing" in able:
            yield TextProcessing()
        if "http_request" in able and config.http.allow:
            yield HttpRequest(self._outbound, config.http.allow)
        elif "http_request" in able:
            notes.append("http_request is missing: config.http.allow names no host")
        if "delegate" in able:
            yield await delegate_of(self._database, agent_id, config, rights)
        if "twin_simulation" in able:
            yield await twin_simulation_of(self._database, self._asking, self._clock, config, rights)


def _client():
    """Load the client of MCP servers: half a second and 30 MiB, which processes whose agents have none do without."""
    from handlers.agents.tools import mcp_servers

    return mcp_servers


def _of_servers(connections: "Sequence[McpConnection]", notes: list[str]) -> Iterator[Tool]:
    for each in connections:
        notes += each.notes
        if each.is_ready:
            yield from each.tools
        else:
            notes.append(each.missing)


def _chosen(tools: Sequence[Tool], config: AgentConfig, notes: list[str]) -> list[Tool]:
    chosen: dict[str, Tool] = {}
    for each in tools:
        name = each.spec.name
        if name in chosen or len(chosen) == MOST_TOOLS:
            notes.append(f"{name} is missing: there is another of its name, or there are over {MOST_TOOLS} tools")
            continue
        chosen[name] = AskedFirst(each) if config.asks_first(name) and not each.needs_approval else each
    return list(chosen.values())
