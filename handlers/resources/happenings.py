"""The types of events that every kind of resource has, described."""

from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from core.events.catalogue import EventType
from handlers.resources.shown import EXAMPLE_ID, example_of


class Gone(BaseModel):
    """A resource that is gone, and the version that it ended with."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": EXAMPLE_ID, "version": 3}]})

    id: UUID
    version: int = Field(ge=1)


def event_types(kind: str, event: str, whole: type[BaseModel]) -> list[EventType]:
    """Return created, updated and deleted of a kind; `whole` is the resource as GET answers it."""

    def described(what: str, summary: str, model: type[BaseModel]) -> EventType:
        schema: dict[str, Any] = model.model_json_schema(mode="serialization")
        return EventType(f"{event}.{what}", summary, f"{kind}/<id>", schema, example_of(model))

    return [
        described("created", "It was made; the data is all of it", whole),
        described("updated", "It was replaced or changed; the data is all of it", whole),
        described("deleted", "It was deleted; the data is its id and its last version", Gone),
    ]
