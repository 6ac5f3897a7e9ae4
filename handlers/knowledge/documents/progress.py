"""How far an ingestion is: what the events say of it."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, Field

from core.events.catalogue import EventType
from core.events.event import NewEvent, new_event
from core.ids import new_id
from handlers.resources.shown import EXAMPLE_ID, example_of

PROGRESS = "knowledge.ingestion.progress"
MOST_ERRORS = 20


@dataclass
class Tally:
    """What one run has done: how many documents are ready, how many failed, and the first of those with why."""

    knowledge_id: UUID
    ready: int = 0
    failed: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @property
    def count(self) -> int:
        """How many have been read."""
        return self.ready + self.failed

    def add(self, id: UUID, name: str, error: dict[str, str] | None) -> None:
        """Count a document."""
        if error is None:
            self.ready += 1
            return
        self.failed += 1
        if len(self.errors) < MOST_ERRORS:
            self.errors.append({"document_id": str(id), "name": name, **error})

    def said(self, pending: int) -> dict[str, Any]:
        """Return it as events say it."""
        return {
            "knowledge_id": str(self.knowledge_id),
            "pending": pending,
            "ready": self.ready,
            "failed": self.failed,
            "errors": list(self.errors),
        }


class IngestionError(BaseModel):
    """A document that could not be read, and why."""

    document_id: UUID
    name: str
    code: str
    message: str


class IngestionProgress(BaseModel):
    """How far an ingestion is: `ready` and `failed` since it began, `pending` now; `errors` has the first 20 that failed."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"knowledge_id": EXAMPLE_ID, "pending": 40, "ready": 60, "failed": 0, "errors": []}]
        }
    )

    knowledge_id: UUID
    pending: int = Field(ge=0)
    ready: int = Field(ge=0)
    failed: int = Field(ge=0)
    errors: list[IngestionError]


EVENT_TYPES = (
    EventType(
        PROGRESS,
        "Documents of a base are being ingested; once a second, and at the end with nothing pending",
        "knowledge/<id>",
        IngestionProgress.model_json_schema(mode="serialization"),
        example_of(IngestionProgress),
    ),
)


def progress(tally: Tally, pending: int, now: datetime) -> NewEvent:
    """Return the event; the transaction that puts it into the outbox holds the base."""
    data = orjson.dumps(tally.said(pending)).decode()
    subject = f"knowledge/{tally.knowledge_id}"
    return new_event(event_id=new_id(), type=PROGRESS, subject=subject, time=now, data=data, short=None)
