"""Chats as clients write and see them: changed and removed messages, mutes and bans."""

import re
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from handlers.described import WITHOUT_NUL, Described, no_nul
from handlers.resources.models import Body, GetInput
from handlers.resources.shown import EXAMPLE_ID, EXAMPLE_TIME

LONGEST_SECONDS = 366 * 24 * 3600
_SUBJECT = "user-17"


_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


def _is_subject(text: str) -> str:
    if _CONTROLS.search(text):
        raise ValueError("A subject has no control characters")
    return text


Subject = Annotated[
    str,
    StringConstraints(min_length=1, max_length=255),
    AfterValidator(_is_subject),
    Described("pattern", r"^[^\u0000-\u001f\u007f]+$"),
]
Reason = Annotated[str, StringConstraints(max_length=500), AfterValidator(no_nul), WITHOUT_NUL]


class Said(Body):
    """What a message says from now on: any JSON."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"data": {"text": "Hello, all"}}]})

    data: JsonValue


class EditMessage(GetInput):
    """A message of a chat, by the id of its event, with what it says from now on."""

    message: str
    body: dict[str, Any]


class DeleteMessage(GetInput):
    """A message of a chat, by the id of its event."""

    message: str


class Amended(BaseModel):
    """A message that was changed, by the id of its event: its offset, how often it was changed, and where that is told."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"id": EXAMPLE_ID, "offset": "7", "revision": 1, "told_at": "9"}]}
    )

    id: UUID
    offset: str
    revision: int
    told_at: str


class NewSanction(Body):
    """Whom a mute or a ban is against, for how long (without `seconds`: until it is lifted), and why."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"subject": _SUBJECT, "seconds": 3600, "reason": "Shouts"}]}
    )

    subject: Subject
    seconds: int | None = Field(None, ge=1, le=LONGEST_SECONDS)
    reason: Reason = ""


class Sanctioned(GetInput):
    """A chat by its name, with a new mute or ban there."""

    body: dict[str, Any]


class ShownSanction(BaseModel):
    """A mute (its subject does not publish) or a ban (it is not there at all), until `ends_at`, or until it is lifted."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": EXAMPLE_ID,
                    "chat": "lobby",
                    "kind": "mute",
                    "subject": _SUBJECT,
                    "reason": "Shouts",
                    "by": "user-1",
                    "created_at": EXAMPLE_TIME,
                    "ends_at": EXAMPLE_TIME,
                }
            ]
        }
    )

    id: UUID
    chat: str
    kind: Literal["mute", "ban"]
    subject: str
    reason: str
    by: str
    created_at: datetime
    ends_at: datetime | None


class ListSanctions(GetInput):
    """A page of what holds in a chat, newest first."""

    page: int = Field(1, ge=1, le=100_000)
    per_page: int = Field(20, ge=1, le=100)
    kind: Literal["mute", "ban"] | None = None
    subject: Subject | None = None


class LiftSanction(GetInput):
    """A mute or a ban of a chat, by its id."""

    sanction: str
