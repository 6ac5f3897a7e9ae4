"""What a tool is to the runtime. No I/O.

ToolError      what is told to the model in place of a result; the run goes on
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from handlers.agents.models import AgentBody
from handlers.knowledge.answering.models import Citation
from handlers.models.model import ToolSpec

# What a model reads of one result, and what is kept of it, in characters.
LONGEST_OUTPUT = 64 * 1024


class ToolError(Exception):
    """A tool that gave no result; the message is for the model and the organisation, and has no secret."""


@dataclass(frozen=True, slots=True)
class Rights:
    """On whose behalf a run works: `resource_ids` None: all of the organisation's. Kept with the execution."""

    org_id: UUID
    subject: str
    scopes: frozenset[str]
    resource_ids: frozenset[UUID] | None


@dataclass(frozen=True, slots=True)
class Calling:
    """One call of a tool. `key` is the same in every attempt of the run; `deadline` is in monotonic seconds.

    Citations count from `first_citation`.
    """

    agent_id: UUID
    agent: AgentBody
    rights: Rights
    execution_id: UUID
    key: str
    depth: int
    deadline: float
    first_citation: int = 1


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool gives: `content` is what the model reads, and is cut to LONGEST_OUTPUT characters by the runtime."""

    content: str
    citations: Sequence[Citation] = ()


@dataclass(frozen=True, slots=True)
class Delegation:
    """A tool's result is another agent's answer: the runtime has it executed, and goes on when that has ended."""

    agent_id: UUID
    query: str


@dataclass(frozen=True, slots=True)
class Waits:
    """The caller runs the tool: the run waits until it brings the result."""


class Tool(Protocol):
    """One tool of an agent, made for a run. `needs_approval`: a person says first whether it may be called."""

    @property
    def spec(self) -> ToolSpec:
        """How the model is told of it."""
        ...

    @property
    def needs_approval(self) -> bool:
        """Whether a person is asked first."""
        ...

    async def call(self, calling: Calling, arguments: Mapping[str, Any]) -> ToolResult | Delegation | Waits:
        """Do it; `arguments` have been checked against the spec's parameters. Raises ToolError. May be cancelled at any moment."""
        ...
