"""Executions as clients ask for them and see them."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from handlers.agents.config import AgentConfig, DeclaredTool, ModelName
from handlers.knowledge.answering.models import Citation, QuestionText
from handlers.lists.models import Sorted
from handlers.resources.models import GetInput, KeptMetadata
from handlers.resources.shown import EXAMPLE_ID, EXAMPLE_TIME

Status = Literal["queued", "running", "requires_action", "completed", "failed", "cancelled"]
ENDED = ("completed", "failed", "cancelled")
MOST_ANSWERED = 64
EXECUTION_ID = "01978f3e-5a73-7c3d-9b42-6f0d2c1e8a55"
_CALL_ID = "call_1"
_USAGE: dict[str, JsonValue] = {"input_tokens": 812, "output_tokens": 34, "steps": 3}
_EXECUTION: dict[str, JsonValue] = {
    "id": EXECUTION_ID,
    "agent_id": EXAMPLE_ID,
    "session_id": None,
    "message_id": None,
    "answer_id": None,
    "parent_id": None,
    "status": "completed",
    "query": "How do I install the SDK?",
    "context": {"user_id": "12345"},
    "text": "Install the SDK with pip install aimatrix. [1]",
    "output": None,
    "citations": [],
    "action": None,
    "model": "extractive",
    "usage": _USAGE,
    "error": None,
    "notes": [],
    "attempt": 1,
    "created_at": EXAMPLE_TIME,
    "started_at": EXAMPLE_TIME,
    "completed_at": EXAMPLE_TIME,
    "deadline_at": "2026-01-01T12:05:00.000000Z",
    "version": 4,
}
_STEP: dict[str, JsonValue] = {
    "id": "1",
    "ordinal": 1,
    "kind": "model",
    "name": "extractive",
    "status": "completed",
    "attempt": 1,
    "text": "",
    "calls": [{"id": _CALL_ID, "name": "knowledge_query", "arguments": '{"question":"How do I install the SDK?"}'}],
    "call_id": None,
    "input": None,
    "output": None,
    "error": None,
    "usage": {"input_tokens": 0, "output_tokens": 0, "steps": 0},
    "started_at": EXAMPLE_TIME,
    "completed_at": EXAMPLE_TIME,
}


class Usage(BaseModel):
    """What it took; tokens as the models told them, those that tell none count nothing."""

    input_tokens: int = 0
    output_tokens: int = 0
    steps: int = 0


class ToldError(BaseModel):
    """Why it failed: a code of the catalogue, and what it means here."""

    code: str
    message: str


class PendingCall(BaseModel):
    """A call that waits for the caller: for its result, or, where `needs` is `approval`, for a yes or a no."""

    call_id: str
    name: str
    arguments: dict[str, Any]
    needs: Literal["result", "approval"]


class Action(BaseModel):
    """What a run waits for."""

    calls: list[PendingCall]


class Execution(BaseModel):
    """A run of an agent. `text` is what it has written: while it runs, what was written a second ago at the latest.

    `output` is the answer as JSON of the `output_schema`, where there is one.
    `notes` tell why tools that the agent should have were not there in the last attempt.
    `answer_id` is the message of the session that it has become; `parent_id` the execution that delegated to it.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_EXECUTION]})

    id: UUID
    agent_id: UUID
    session_id: UUID | None
    message_id: UUID | None
    answer_id: UUID | None
    parent_id: UUID | None
    status: Status
    query: str
    context: dict[str, Any]
    text: str
    output: dict[str, Any] | None
    citations: list[Citation]
    action: Action | None
    model: str | None
    usage: Usage
    error: ToldError | None
    notes: list[str]
    attempt: int = Field(ge=0)
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    deadline_at: datetime
    version: int = Field(ge=1)


class ModelCall(BaseModel):
    """What a model asked for, as it wrote it."""

    id: str
    name: str
    arguments: str


class Step(BaseModel):
    """A turn of a model, or a call of a tool. The id is the ordinal, as a text.

    `output` is what the model reads of a result; of a turn whose answer was not of the `output_schema`, that answer.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_STEP]})

    id: str
    ordinal: int = Field(ge=1)
    kind: Literal["model", "tool"]
    name: str
    status: Literal["running", "waiting", "completed", "failed"]
    attempt: int
    text: str
    calls: list[ModelCall]
    call_id: str | None
    input: dict[str, Any] | None
    output: str | None
    error: ToldError | None
    usage: Usage
    started_at: datetime
    completed_at: datetime | None


class Options(BaseModel):
    """How one execution differs from what its agent's `config` says; kept with it.

    `output_schema` is a JSON Schema of an object: the answer is to be JSON of it.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    model: ModelName | None = None
    tools: list[DeclaredTool] = Field(default=[], max_length=32)
    most_seconds: Annotated[float, Field(ge=1, le=3_600)] | None = None
    output_schema: dict[str, Any] | None = None

    def applied_to(self, config: AgentConfig) -> AgentConfig:
        """Return what an agent's config is for the execution; its models, tools and time are chosen where they are needed."""
        return config if self.output_schema is None else config.model_copy(update={"output_schema": self.output_schema})


class Query(BaseModel):
    """What an agent is asked. `context` is the caller's own: it is kept, and given to the model as data."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str
    query: QuestionText
    context: KeptMetadata = Field(default_factory=dict[str, Any])


class Execute(Query, Options):
    """What an agent is to do. `context` is the caller's own: it is kept, and given to the model as data.

    `tools` are run by the caller: the execution waits for their results. With `output_schema` the answer is JSON of it.
    """

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"query": "How can I help you today?", "context": {"user_id": "12345"}}]}
    )

    @property
    def options(self) -> Options:
        """Those of its fields that are options."""
        return Options.model_validate(self.model_dump(include=set(Options.model_fields)))


class ExecuteInput(BaseModel):
    """What version 1 calls it: the agent in the body, and an input, a text or an object with `query` and `context`."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {
                    "agent_id": EXAMPLE_ID,
                    "input": {"query": "How can I help you today?", "context": {"user_id": "12345"}},
                }
            ]
        },
    )

    agent_id: str
    input: QuestionText | dict[str, Any]


class ListExecutions(Sorted):
    """A page of executions, newest first; with `agent_id`, of one agent."""

    agent_id: str | None = None
    status: Status | None = None


class ListOfAgent(Sorted):
    """A page of an agent's executions, newest first."""

    id: str
    status: Status | None = None


class ListSteps(GetInput):
    """A page of an execution's steps, in order."""

    page: int = Field(1, ge=1, le=1_000_000)
    per_page: int = Field(20, ge=1, le=100)


class CallAnswer(BaseModel):
    """A call's result, or why there is none, or whether it may be called: one of the three."""

    model_config = ConfigDict(extra="forbid", strict=True)

    call_id: str = Field(max_length=200)
    output: str | dict[str, Any] | list[Any] | None = None
    error: Annotated[str, Field(max_length=4_000)] | None = None
    approved: bool | None = None


class AnswerCalls(GetInput):
    """The answers to what an execution waits for: all of its calls, or some of them."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"results": [{"call_id": _CALL_ID, "output": "4711 is on its way"}]}]},
    )

    results: list[CallAnswer] = Field(min_length=1, max_length=MOST_ANSWERED)
