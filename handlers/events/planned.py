"""Types of events that integrations may be written for before the platform emits them."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from core.events.catalogue import EventType
from handlers.resources.shown import EXAMPLE_ID, EXAMPLE_TIME, example_of


class Execution(BaseModel):
    """An execution of an agent that has come to its end; it has more fields as `GET /v2/executions/{id}` answers it."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "id": "01978f3e-5a73-7c3d-9b42-6f0d2c1e8a55",
                    "agent_id": EXAMPLE_ID,
                    "status": "completed",
                    "created_at": EXAMPLE_TIME,
                    "completed_at": EXAMPLE_TIME,
                }
            ]
        },
    )

    id: UUID
    agent_id: UUID
    status: Literal["completed"]
    created_at: datetime
    completed_at: datetime


PLANNED = (
    EventType(
        "agent.execution.completed",
        "An agent has done what it was asked to",
        "executions/<id>",
        Execution.model_json_schema(mode="serialization"),
        example_of(Execution),
        is_planned=True,
    ),
)
