"""Types of events are listed, each with the schema of its data and an example."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field

from core.events.catalogue import EventType
from core.operations.context import Context
from core.operations.operation import Operation, operation, operations_of
from core.operations.results import Page, Shown
from handlers.events.models import ShownEventType
from handlers.events.registering import Registering, find, missing, page
from handlers.resources.models import GetInput
from handlers.resources.shown import EXAMPLE_ID, EXAMPLE_TIME

_READ = "read:events"
_EVENT_ID = "01978f3e-5a71-7c3d-9b42-6f0d2c1e8a55"


class ListEventTypes(BaseModel):
    """A page of the types, in the order of their names."""

    model_config = ConfigDict(extra="forbid")

    page: int = Field(1, ge=1, le=1_000_000)
    per_page: int = Field(20, ge=1, le=100)


class EventTypes:
    """The types of events that this platform has, and beside them those that the organisation has registered."""

    def __init__(self, types: Iterable[EventType]) -> None:
        """Raises ValueError where two have one name."""
        self._types: dict[str, str] = {}
        for each in sorted(types, key=lambda each: each.name):
            if each.name in self._types:
                raise ValueError(f"two types of events are called {each.name}")
            self._types[each.name] = orjson.dumps(_object(each)).decode()

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return [*operations_of(self), *Registering().operations()]

    @operation(
        "event-types.list", scope=_READ, transaction="read", input=ListEventTypes, result=Page, shows=ShownEventType
    )
    async def list(self, ctx: Context, wanted: ListEventTypes) -> Page:
        """List the types of events, each with the schema of its data and an example."""
        first = (wanted.page - 1) * wanted.per_page
        last = first + wanted.per_page
        # The names of all that is registered begin alike, so they stand together.
        before = [text for name, text in self._types.items() if name < "custom."]
        behind = [text for name, text in self._types.items() if name > "custom."]
        begin, end = (max(0, each - len(before)) for each in (first, last))
        own, total = await page(ctx, begin, end - begin)
        begin, end = (max(0, each - len(before) - total) for each in (first, last))
        items = [*before[first:last], *own, *behind[begin:end]]
        return Page(items, wanted.page, wanted.per_page, len(self._types) + total)

    @operation("event-types.get", scope=_READ, transaction="read", input=GetInput, result=Shown, shows=ShownEventType)
    async def get(self, ctx: Context, wanted: GetInput) -> Shown:
        """Get one type of events by its name."""
        return Shown(self._types.get(wanted.id) or await find(ctx, wanted.id) or missing())


def _object(type: EventType) -> Mapping[str, Any]:
    return {
        "id": type.name,
        "summary": type.summary,
        "status": "planned" if type.is_planned else "emitted",
        "subject": type.subject,
        "data_schema": type.schema,
        "example": type.event(_EVENT_ID, EXAMPLE_TIME, EXAMPLE_ID),
    }
