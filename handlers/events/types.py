"""What can be done with types of events: they are listed, each with the schema of its data and an example."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from core.errors import HubError
from core.events.catalogue import EventType
from core.operations.context import Context
from core.operations.operation import Operation, operation, operations_of
from core.operations.results import Page, Shown
from handlers.events.models import EXAMPLE_EVENT
from handlers.resources.models import GetInput
from handlers.resources.shown import EXAMPLE_ID, EXAMPLE_TIME

_READ = "read:events"
_EVENT_ID = "01978f3e-5a71-7c3d-9b42-6f0d2c1e8a55"


class ShownEventType(BaseModel):
    """A type of events, whose `id` is its name; `data_schema` is the JSON Schema of an event's data.

    `status` is `planned` where no event of it is emitted yet. `example` is an event of it, without a position.
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
    status: Literal["emitted", "planned"]
    subject: str
    data_schema: dict[str, JsonValue]
    example: dict[str, JsonValue]


class ListEventTypes(BaseModel):
    """A page of the types, in the order of their names."""

    model_config = ConfigDict(extra="forbid")

    page: int = Field(1, ge=1, le=1_000_000)
    per_page: int = Field(20, ge=1, le=100)


class EventTypes:
    """The types of events that this platform has."""

    def __init__(self, types: Iterable[EventType]) -> None:
        """Raises ValueError where two have one name."""
        self._types: dict[str, str] = {}
        for each in sorted(types, key=lambda each: each.name):
            if each.name in self._types:
                raise ValueError(f"two types of events are called {each.name}")
            self._types[each.name] = orjson.dumps(_object(each)).decode()

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return operations_of(self)

    @operation(
        "event-types.list", scope=_READ, transaction="read", input=ListEventTypes, result=Page, shows=ShownEventType
    )
    async def list(self, ctx: Context, wanted: ListEventTypes) -> Page:
        """List the types of events, each with the schema of its data and an example."""
        first = (wanted.page - 1) * wanted.per_page
        items = [*self._types.values()][first : first + wanted.per_page]
        return Page(items, wanted.page, wanted.per_page, len(self._types))

    @operation("event-types.get", scope=_READ, transaction="read", input=GetInput, result=Shown, shows=ShownEventType)
    async def get(self, ctx: Context, wanted: GetInput) -> Shown:
        """Get one type of events by its name."""
        found = self._types.get(wanted.id)
        if found is None:
            raise HubError("RESOURCE_NOT_FOUND", "There is no type of events with this name")
        return Shown(found)


def _object(type: EventType) -> Mapping[str, Any]:
    return {
        "id": type.name,
        "summary": type.summary,
        "status": "planned" if type.is_planned else "emitted",
        "subject": type.subject,
        "data_schema": type.schema,
        "example": type.event(_EVENT_ID, EXAMPLE_TIME, EXAMPLE_ID),
    }
