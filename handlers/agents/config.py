"""How an agent works: its `config`, read. No I/O.

What is not known here is the client's own and is left alone, so that an agent of an older hub, or of another, can be kept as it is.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, cast
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from core.errors import Detail, HubError
from core.operations.validation import validated
from handlers.agents.models import AgentBody
from handlers.described import WITHOUT_NUL
from handlers.events.schemas import compiled

# Capabilities that bring a tool, which has the same name; others say something to people only.
CAPABILITIES = ("text_processing", "knowledge_query", "http_request", "delegate", "twin_simulation")
# What an agent without any of these can do: nothing that reaches out of its organisation.
USUAL_CAPABILITIES = frozenset({"text_processing", "knowledge_query"})
MOST_TOOLS = 64
MOST_SERVERS = 8
LONGEST_DESCRIPTION = 2_000
# What stands before the name of a server's tool: <server>__<tool>.
JOINT = "__"
EVERY = "*"
_HOST = re.compile(r"(?:\*\.)?[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:.]+\]")


def _without_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("NUL characters are not allowed")
    return text


def _a_host(text: str) -> str:
    if text != EVERY and _HOST.fullmatch(text.lower()) is None:
        raise ValueError("A host is a name such as api.example.com, *.example.com for all below it, or * for all")
    return text.lower()


def _without_joint(text: str) -> str:
    if JOINT in text:
        raise ValueError("Two underscores in a row stand between a server's name and its tool's")
    return text


ToolName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
ServerName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,24}$"), AfterValidator(_without_joint)]
ModelName = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_without_nul)]
Host = Annotated[str, StringConstraints(max_length=253), AfterValidator(_a_host)]
Description = Annotated[
    str, StringConstraints(max_length=LONGEST_DESCRIPTION), AfterValidator(_without_nul), WITHOUT_NUL
]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class DeclaredTool(_Part):
    """A tool that the caller runs: the run waits for its result. `parameters` is the JSON Schema of its arguments, an object.

    `approval`: a person says first whether it may be called.
    """

    name: ToolName
    description: Description = ""
    parameters: dict[str, Any] = Field(default_factory=lambda: {"type": "object", "properties": {}})
    approval: bool = False


class HttpConfig(_Part):
    """Which hosts `http_request` may call: a name, `*.` and a name for all below it, or `*` for all. None: nothing is called."""

    allow: list[Host] = Field(default=[], max_length=100)


class McpServer(_Part):
    """An MCP server whose tools the agent has, each as `<name>__<tool>`.

    `token` and `headers` say what it knows the agent by: that is kept elsewhere (handlers/agents/credentials.py).
    """

    name: ServerName
    url: Annotated[str, StringConstraints(max_length=2_000, pattern=r"^https?://")]
    token: Literal[True] | None = None
    headers: dict[str, Literal[True]] = {}

    @property
    def fields(self) -> Sequence[str]:
        """What is kept of it."""
        return [*(["token"] if self.token else []), *(f"headers.{name.lower()}" for name in self.headers)]


class AgentConfig(_Part):
    """How an agent works.

    `model` empty: the hub's own choice; those of `fallback` are asked in turn where it fails. `most_tokens` bounds one turn of the
    model, `most_total_tokens` and `most_seconds` a run. `attempts`: how often a turn is tried. `approve`: tools that a person says
    yes to before each call, `*` for all. `agents`: whom it may delegate to (empty: any), up to `depth` delegations deep.
    `output_schema` is a JSON Schema of an object: answers are JSON of it.
    `twins`: what it may simulate (empty: what those may for whom it works).
    """

    model: ModelName | None = None
    fallback: list[ModelName] = Field(default=[], max_length=8)
    instructions: Annotated[str, StringConstraints(max_length=65_536), AfterValidator(_without_nul)] = ""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    most_steps: int = Field(default=16, ge=1, le=64)
    most_tokens: int = Field(default=1_024, ge=1, le=131_072)
    most_total_tokens: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    most_seconds: float = Field(default=300, ge=1, le=3_600)
    attempts: int = Field(default=2, ge=1, le=5)
    tools: list[DeclaredTool] = Field(default=[], max_length=MOST_TOOLS)
    approve: list[Annotated[str, StringConstraints(max_length=100)]] = Field(default=[], max_length=200)
    http: HttpConfig = HttpConfig()
    mcp: list[McpServer] = Field(default=[], max_length=MOST_SERVERS)
    agents: list[Annotated[UUID, Field(strict=False)]] = Field(default=[], max_length=100)
    depth: int = Field(default=4, ge=1, le=8)
    output_schema: dict[str, Any] | None = None
    twins: list[Annotated[UUID, Field(strict=False)]] = Field(default=[], max_length=100)

    @property
    def models(self) -> Sequence[str]:
        """The models to ask, in turn; none: the hub's own choice."""
        return list(dict.fromkeys([*([] if self.model is None else [self.model]), *self.fallback]))

    def asks_first(self, tool: str) -> bool:
        """Tell whether `approve` has a person asked before this tool is called."""
        return EVERY in self.approve or tool in self.approve


class _Held(BaseModel):
    config: AgentConfig


def config_of(body: AgentBody) -> AgentConfig:
    """Return how an agent works; raises HubError VALIDATION_ERROR with what is wrong, each at its `config....`."""
    config = cast("_Held", validated(_Held, {"config": body.config})).config
    wrong = [*tool_problems(config.tools, "config.tools"), *_problems(config)]
    if wrong:
        raise HubError("VALIDATION_ERROR", details=wrong)
    return config


def tool_problems(tools: Sequence[DeclaredTool], place: str, taken: frozenset[str] = frozenset()) -> list[Detail]:
    """Return what is wrong with tools that stand at `place`, where names of `taken` are others'."""
    return list(_tool_problems(tools, place, taken))


def _tool_problems(tools: Sequence[DeclaredTool], place: str, taken: frozenset[str]) -> Iterator[Detail]:
    seen = {*CAPABILITIES, *taken}
    for number, tool in enumerate(tools):
        here = f"{place}[{number}]"
        if tool.name in seen or JOINT in tool.name:
            yield Detail(
                f"{here}.name", "INVALID_FORMAT", "Another tool has this name, or may have it (two underscores)"
            )
        seen.add(tool.name)
        yield from schema_problems(tool.parameters, f"{here}.parameters")


def schema_problems(schema: Mapping[str, Any], place: str) -> list[Detail]:
    """Return what is wrong with the JSON Schema of an object, of a tool's arguments or of an answer, that stands at `place`."""
    wrong: list[Detail] = []
    if schema.get("type", "object") != "object":
        wrong.append(Detail(f"{place}.type", "INVALID_FORMAT", "The arguments of a tool, and an answer, are an object"))
    try:
        compiled(schema, place)
    except HubError as error:
        wrong += error.details
    return wrong


def _problems(config: AgentConfig) -> Iterator[Detail]:
    if config.output_schema is not None:
        yield from schema_problems(config.output_schema, "config.output_schema")
    servers = [each.name for each in config.mcp]
    for number, name in enumerate(servers):
        if name in servers[:number]:
            yield Detail(f"config.mcp[{number}].name", "INVALID_FORMAT", "Another server has this name")
    known = {EVERY, *CAPABILITIES, *(tool.name for tool in config.tools)}
    for number, name in enumerate(config.approve):
        # A name with a slip would leave the tool that was meant without anybody who is asked.
        if name not in known and name.partition(JOINT)[0] not in servers:
            yield Detail(f"config.approve[{number}]", "INVALID_FORMAT", "The agent has no such tool")
