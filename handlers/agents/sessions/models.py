"""Sessions and their messages as clients write and see them."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    model_validator,
)

from core.errors import Detail, HubError
from handlers.described import no_nul
from handlers.knowledge.answering.models import Citation, QuestionText
from handlers.knowledge.documents.models import DocumentName, MediaType
from handlers.lists.models import Sorted
from handlers.resources.models import Body, GetInput, KeptMetadata, Name
from handlers.resources.shown import EXAMPLE_ID, EXAMPLE_TIME

MOST_ATTACHMENTS = 8
MOST_ATTACHED_BYTES = 256 * 1024
_SESSION_ID = "01978f3e-5a76-7c3d-9b42-6f0d2c1e8a55"
_MESSAGE_ID = "01978f3e-5a77-7c3d-9b42-6f0d2c1e8a55"
_SESSION: dict[str, JsonValue] = {
    "id": _SESSION_ID,
    "agent_id": EXAMPLE_ID,
    "title": "How do I install the SDK?",
    "metadata": {"ticket": "4711"},
    "head_id": None,
    "active_id": None,
    "created_by": "user:ada",
    "created_at": EXAMPLE_TIME,
    "updated_at": EXAMPLE_TIME,
    "version": 1,
}
_MESSAGE: dict[str, JsonValue] = {
    "id": _MESSAGE_ID,
    "session_id": _SESSION_ID,
    "parent_id": None,
    "role": "user",
    "text": "How do I install the SDK?",
    "attachments": [],
    "citations": [],
    "execution_id": None,
    "created_by": "user:ada",
    "created_at": EXAMPLE_TIME,
    "siblings": [_MESSAGE_ID],
}


def _is_text(media_type: str) -> str:
    if not media_type.lower().startswith("text/"):
        raise ValueError("Must be a type of text, such as text/plain: others are for a knowledge base")
    return media_type


Id = Annotated[UUID, Field(strict=False)]


class NewSession(BaseModel):
    """A session. Without a title it gets the beginning of its first message."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"title": "Installation", "metadata": {"ticket": "4711"}}]},
    )

    id: str
    title: Name | None = None
    metadata: KeptMetadata = Field(default_factory=dict[str, Any])


class Session(BaseModel):
    """A conversation with an agent.

    `head_id` is the last message of the branch that is shown; `active_id` the execution that writes an answer.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_SESSION]})

    id: UUID
    agent_id: UUID
    title: str | None
    metadata: dict[str, Any]
    head_id: UUID | None
    active_id: UUID | None
    created_by: str
    created_at: datetime
    updated_at: datetime
    version: int


class Attachment(Body):
    """A text that goes with a message."""

    name: DocumentName
    content_type: Annotated[MediaType, AfterValidator(_is_text)] = "text/plain"
    text: Annotated[str, StringConstraints(max_length=MOST_ATTACHED_BYTES), AfterValidator(no_nul)]


class Message(BaseModel):
    """What was said. `siblings` are the messages that follow the same one, oldest first, with this one: each begins a branch."""

    model_config = ConfigDict(json_schema_extra={"examples": [_MESSAGE]})

    id: UUID
    session_id: UUID
    parent_id: UUID | None
    role: Literal["user", "assistant"]
    text: str
    attachments: list[Attachment]
    citations: list[Citation]
    execution_id: UUID | None
    created_by: str
    created_at: datetime
    siblings: list[UUID]


class ListSessions(Sorted):
    """A page of an agent's sessions, the one that was used last first."""

    id: str


class GetSession(GetInput):
    """One session by its id; with `agent` only where it is of that agent."""

    agent: str | None = None


class DeleteSession(GetSession):
    """One session to remove; `if_match` is the raw If-Match value that must name its version."""

    if_match: str | None = None


class ChangeSession(DeleteSession):
    """One session to change, with the fields that were sent."""

    body: dict[str, Any]


class SessionChange(Body):
    """What of a session can be changed, by JSON Merge Patch. Of the message `head_id` the branch is shown, to its newest end."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"title": "Installation"}]})

    title: Name | None = None
    metadata: KeptMetadata | None = None
    head_id: Id | None = None


class ListMessages(GetSession):
    """A page of the way from the first message to the head, or to the newest end of another `branch`."""

    branch: str | None = None
    page: int = Field(1, ge=1, le=1_000_000)
    per_page: int = Field(20, ge=1, le=100)


class SendMessage(BaseModel):
    """A message, and texts that go with it. It follows the head, or `parent_id`; null: nothing, so it begins anew."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"text": "How do I install the SDK?"}]},
    )

    id: str
    agent: str | None = None
    text: QuestionText
    attachments: list[Attachment] = Field(default=[], max_length=MOST_ATTACHMENTS)
    parent_id: Id | None = None

    @model_validator(mode="after")
    def _in_all(self) -> "SendMessage":
        if sum(len(each.text.encode()) for each in self.attachments) > MOST_ATTACHED_BYTES:
            most = f"Attachments have at most {MOST_ATTACHED_BYTES >> 10} KiB together"
            raise HubError("VALIDATION_ERROR", details=[Detail("attachments", "VALUE_OUT_OF_RANGE", most)])
        return self


class RetryMessage(GetSession):
    """A message of a person that is to be answered once more."""

    message: str
