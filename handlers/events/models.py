"""What is asked of the log, and how an event of it looks."""

import re
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from handlers.described import Described
from handlers.lists.models import Sorted, Word
from handlers.resources.shown import EXAMPLE_ID, EXAMPLE_TIME

_PATTERN = re.compile(r"[A-Za-z0-9_.*-]{1,200}")


def _is_pattern(text: str) -> str:
    if _PATTERN.fullmatch(text) is None:
        raise ValueError("A type has letters, digits, dots, hyphens and underscores; * stands for any of them")
    return text


TypePattern = Annotated[str, AfterValidator(_is_pattern), Described("pattern", f"^{_PATTERN.pattern}$")]

EXAMPLE_EVENT: dict[str, JsonValue] = {
    "id": "01978f3e-5a71-7c3d-9b42-6f0d2c1e8a55",
    "type": "agent.deleted",
    "source": "aimatrix",
    "subject": f"agents/{EXAMPLE_ID}",
    "time": EXAMPLE_TIME,
    "data": {"id": EXAMPLE_ID, "version": 3},
    "position": "1042",
}


class ShownEventType(BaseModel):
    """A type of events, whose `id` is its name; `data_schema` is the JSON Schema of an event's data.

    `status` is `planned` where no event of it is emitted yet, `registered` of the organisation's own. `example` is an event of it,
    without a position.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "agent.deleted",
                    "summary": "It was deleted; the data is its id and its last version",
                    "status": "emitted",
                    "subject": "agents/<id>",
                    "data_schema": {"type": "object"},
                    "example": {name: value for name, value in EXAMPLE_EVENT.items() if name != "position"},
                }
            ]
        }
    )

    id: str
    summary: str
    status: Literal["emitted", "planned", "registered"]
    subject: str
    data_schema: dict[str, JsonValue]
    example: dict[str, JsonValue]


class Event(BaseModel):
    """An event of the log: its envelope, whole, with its position. `data` depends on `type`: `GET /v2/event-types`."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_EVENT]})

    id: UUID
    type: str
    source: str
    subject: str
    time: datetime
    data: Any
    position: str = Field(pattern=r"^[1-9][0-9]*$", description="Its number in the organisation's log, without gaps")


class ListResourceEvents(Sorted):
    """A part of the log, newest first; `type` may have `*`, which stands for any characters, dots too."""

    type: TypePattern | None = None


class ListEvents(ListResourceEvents):
    """A part of the log, newest first; `type` may have `*`, which stands for any characters, dots too."""

    subject: Word | None = None


class ListEventsOf(ListResourceEvents):
    """A part of the log about one resource."""

    resource_id: str
