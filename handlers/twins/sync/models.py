"""Where the data of a twin comes from and how often, as a twin carries it; and how that goes, as clients see it."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from jsonpointer import JsonPointer, JsonPointerException
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from core.outbound import OutboundRefused, target_of
from handlers.resources.models import Text
from handlers.resources.shown import EXAMPLE_ID, EXAMPLE_TIME
from handlers.twins.sync.schedule import checked


def _may_be_called(url: str) -> str:
    try:
        target_of(url)
    except OutboundRefused as error:
        raise ValueError(str(error)) from error
    return url


def _is_pointer(text: str) -> str:
    try:
        JsonPointer(text)
    except JsonPointerException as error:
        raise ValueError("Must be a JSON Pointer (RFC 6901), such as /items/0") from error
    return text


Schedule = Annotated[str, Field(max_length=100), AfterValidator(checked)]


class HttpSource(BaseModel):
    """JSON over HTTP: what `pointer` (RFC 6901) shows of it becomes the twin's `data`, or is merged into it (RFC 7396)."""

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: Literal["http"]
    url: Annotated[Text, AfterValidator(_may_be_called)]
    pointer: Annotated[str, Field(max_length=500), AfterValidator(_is_pointer)] = ""
    mode: Literal["merge", "replace"] = "replace"


class SyncError(BaseModel):
    """Why the source gave nothing, or why that is not in the twin."""

    code: str
    message: str


class Sync(BaseModel):
    """How a twin's data is kept like its source.

    `reason` tells why nothing is fetched by itself; `status` whether it is fetched now. `failures` are in a row, and put `next_at`
    off. `outcome` and `error` are of the last run.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "twin_id": EXAMPLE_ID,
                    "status": "idle",
                    "sync_schedule": "hourly",
                    "source": None,
                    "reason": "The twin has no source: nothing is fetched",
                    "next_at": None,
                    "last_at": None,
                    "outcome": None,
                    "error": None,
                    "succeeded_at": None,
                    "failures": 0,
                }
            ]
        }
    )

    twin_id: UUID
    status: Literal["idle", "queued", "running"]
    sync_schedule: str | None
    source: dict[str, Any] | None
    reason: str | None
    next_at: datetime | None
    last_at: datetime | None
    outcome: Literal["changed", "unchanged", "failed"] | None
    error: SyncError | None
    succeeded_at: datetime | None
    failures: int


class SyncBegun(BaseModel):
    """A run that is to begin, or that is under way already."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"twin_id": EXAMPLE_ID, "job_id": "01978f3e-5a79-7c3d-9b42-6f0d2c1e8a55", "status": "queued"}]
        }
    )

    twin_id: UUID
    job_id: UUID
    status: Literal["queued"]


class Synchronised(BaseModel):
    """A twin's data is like its source again; `is_changed` tells whether it was not."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"twin_id": EXAMPLE_ID, "is_changed": True, "version": 2, "failures": 0, "at": EXAMPLE_TIME}]
        }
    )

    twin_id: UUID
    is_changed: bool
    version: int
    failures: int = Field(description="In a row, before this")
    at: datetime


class SyncFailed(BaseModel):
    """A twin's data could not be fetched, or not be written. `failures` are in a row: it is told of the first and each tenth."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "twin_id": EXAMPLE_ID,
                    "error": {"code": "NOT_FETCHED", "message": "It answered 500"},
                    "failures": 1,
                    "next_at": EXAMPLE_TIME,
                    "at": EXAMPLE_TIME,
                }
            ]
        }
    )

    twin_id: UUID
    error: SyncError
    failures: int
    next_at: datetime | None
    at: datetime
