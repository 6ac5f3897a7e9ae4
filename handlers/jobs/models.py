"""Jobs as clients see them."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from handlers.lists.models import Word
from handlers.resources.shown import EXAMPLE_ID, EXAMPLE_TIME

Status = Literal["queued", "running", "completed", "failed", "cancelled"]
_EXAMPLE: dict[str, JsonValue] = {
    "id": EXAMPLE_ID,
    "kind": "knowledge.ingest",
    "status": "running",
    "priority": 0,
    "attempts": 1,
    "max_attempts": 5,
    "progress": {"pages": 3, "of": 10},
    "result": None,
    "error": None,
    "run_at": EXAMPLE_TIME,
    "cancel_requested_at": None,
    "created_at": EXAMPLE_TIME,
    "started_at": EXAMPLE_TIME,
    "finished_at": None,
}


class JobError(BaseModel):
    """Why the last attempt failed."""

    code: str
    message: str


class Job(BaseModel):
    """A job: what of, how far, how often it was tried, and what came of it. `max_attempts` is known once it was begun."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: UUID
    kind: str
    status: Status
    priority: int
    attempts: int = Field(ge=0)
    max_attempts: int | None
    progress: Any
    result: Any
    error: JobError | None
    run_at: datetime
    cancel_requested_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class ListJobs(BaseModel):
    """A page of the organisation's jobs, newest first; each filter that is given must match."""

    model_config = ConfigDict(extra="forbid")

    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    per_page: Annotated[int, Field(ge=1, le=100)] = 20
    kind: Word | None = None
    status: Status | None = None
