"""What is asked of the audit, and how an entry of it looks."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from handlers.lists.models import Sorted, Word
from handlers.resources.shown import EXAMPLE_TIME


class AuditEntry(BaseModel):
    """Who did what, on what and when; `outcome` is `ok`, `replayed`, `started`, or the code of the error."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "01978f3e-5a72-7c3d-9b42-6f0d2c1e8a55",
                    "time": EXAMPLE_TIME,
                    "subject": "user:ada",
                    "operation": "agents.list",
                    "target": None,
                    "request_id": "req_0123456789abcdef00000001",
                    "outcome": "ok",
                }
            ]
        }
    )

    id: UUID
    time: datetime
    subject: str
    operation: str
    target: str | None
    request_id: str
    outcome: str


class ListAudit(Sorted):
    """A part of the audit, newest first; `subject` is who called."""

    subject: Word | None = None
    operation: Word | None = None
    target: Word | None = None
    outcome: Word | None = None
