"""Channels as clients name them, and what is answered of them."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from handlers.described import WITHOUT_NUL, Described, no_nul
from handlers.resources.models import Body
from handlers.resources.shown import EXAMPLE_ID, EXAMPLE_TIME
from rooms.speaking import MOST_HISTORY

MOST_MEMBERS = 500
_EPOCH = "a8f1.6746"
# As of channels on a socket; what is longer names none.
_LONGEST_NAME = 264
_LARGEST_OFFSET = 2**63 - 1


def _fits(text: str) -> str:
    if int(text) > _LARGEST_OFFSET:
        raise ValueError("from 0 to 2^63 - 1")
    return text


Offset = Annotated[
    str, StringConstraints(pattern=r"^[0-9]{1,19}$"), AfterValidator(_fits), Described("pattern", "^[0-9]{1,18}$")
]
ChannelName = Annotated[str, StringConstraints(max_length=_LONGEST_NAME)]


class PublishInput(Body):
    """What is published: any JSON, of at most 16 KiB; into a twin's telemetry, points."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"data": {"text": "Hello"}}]})

    channel: ChannelName
    data: Any


class PublishedInto(BaseModel):
    """Where it went: its offset in the room's epoch. Of telemetry how many points are stored instead."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"offset": "7", "epoch": _EPOCH, "event_id": EXAMPLE_ID}]}
    )

    offset: str | None = None
    epoch: str | None = None
    event_id: str | None = None
    stored: int | None = None


class HistoryInput(BaseModel):
    """The latest `limit`; those below `before`; or the first after `after`, of `epoch`."""

    model_config = ConfigDict(extra="forbid")

    channel: ChannelName
    after: Offset | None = None
    before: Offset | None = None
    epoch: Annotated[str, StringConstraints(max_length=64), AfterValidator(no_nul), WITHOUT_NUL] | None = None
    limit: int = Field(50, ge=1, le=MOST_HISTORY)


class PresenceInput(BaseModel):
    """Who is there, by subject: at most `limit`, those behind `after`."""

    model_config = ConfigDict(extra="forbid")

    channel: ChannelName
    after: Annotated[str, StringConstraints(max_length=255), AfterValidator(no_nul), WITHOUT_NUL] | None = None
    limit: int = Field(100, ge=1, le=MOST_MEMBERS)


_EVENT: dict[str, JsonValue] = {
    "id": EXAMPLE_ID,
    "type": "chat.message",
    "source": "user:ada",
    "subject": "chat/lobby",
    "time": EXAMPLE_TIME,
    "data": {"text": "Hello"},
}


class KeptEvent(BaseModel):
    """An event of a room's history."""

    offset: str
    event: dict[str, Any]


class ChannelHistory(BaseModel):
    """A part of what a room keeps, oldest first. `offset` and `epoch` are where it ends now.

    `recovered`: false where some of what follows `after` are missing, and the latest stand here instead.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "channel": "chat:lobby",
                    "offset": "7",
                    "epoch": _EPOCH,
                    "recovered": True,
                    "events": [{"offset": "7", "event": _EVENT}],
                }
            ]
        }
    )

    channel: str
    offset: str
    epoch: str
    recovered: bool
    events: list[KeptEvent]


class Presence(BaseModel):
    """Who is in a channel, a page of it; `next` is what the next one comes after, null at the end."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "channel": "chat:lobby",
                    "version": "3",
                    "epoch": _EPOCH,
                    "count": {"members": 1, "connections": 2},
                    "members": [{"subject": "user:ada", "connections": 2, "data": None, "joined_at": EXAMPLE_TIME}],
                    "next": None,
                }
            ]
        }
    )

    channel: str
    version: str
    epoch: str
    count: dict[str, int]
    members: list[dict[str, Any]]
    next: str | None
