"""The types of events that executions have."""

from uuid import UUID

from pydantic import BaseModel, ConfigDict, JsonValue

from core.events.catalogue import EventType
from handlers.agents.executions.models import EXECUTION_ID, Execution, Step
from handlers.resources.shown import EXAMPLE_ID, example_of

_SUBJECT = "executions/<id>"


class StepEnded(BaseModel):
    """A step of an execution that has ended."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"execution_id": EXECUTION_ID, "agent_id": EXAMPLE_ID, "step": example_of(Step)}]
        }
    )

    execution_id: UUID
    agent_id: UUID
    step: Step


def _of_execution(what: str, summary: str, **changed: JsonValue) -> EventType:
    schema = Execution.model_json_schema(mode="serialization")
    return EventType(f"agent.execution.{what}", summary, _SUBJECT, schema, {**example_of(Execution), **changed})


EXECUTIONS = (
    _of_execution(
        "started", "An agent has begun what it was asked to", status="running", text="", usage={}, completed_at=None
    ),
    EventType(
        "agent.execution.step",
        "A turn of the model, or a call of a tool, has ended",
        _SUBJECT,
        StepEnded.model_json_schema(mode="serialization"),
        example_of(StepEnded),
    ),
    _of_execution("completed", "An agent has done what it was asked to"),
    _of_execution(
        "failed",
        "An agent could not do what it was asked to; the error tells why",
        status="failed",
        error={"code": "TIMEOUT", "message": "It took longer than it may"},
    ),
    _of_execution("cancelled", "What an agent was doing was cancelled", status="cancelled"),
)
