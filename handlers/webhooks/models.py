"""Webhooks as clients write them, and the log of their deliveries."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from handlers.described import Described
from handlers.resources.models import Body, DeleteInput, GetInput, Text
from handlers.resources.shown import EXAMPLE_ID, EXAMPLE_TIME, Own
from handlers.subscriptions.models import Start

MOST_EVENTS = 100
LONGEST_OVERLAP_SECONDS = 7 * 24 * 3600
_URL = "https://hooks.example.com/aimatrix"
_NO_ADDRESS = "https://hooks.example.com: the name has no address"
_EXAMPLE: dict[str, JsonValue] = {
    "id": EXAMPLE_ID,
    "url": _URL,
    "events": ["agent.*"],
    "description": "",
    "max_per_second": None,
    "ordered": False,
    "status": "active",
    "status_reason": None,
    "failing_since": None,
    "old_secret_until": None,
    "created_at": EXAMPLE_TIME,
    "updated_at": EXAMPLE_TIME,
    "version": 1,
}
_ATTEMPT: dict[str, JsonValue] = {
    "number": 1,
    "time": EXAMPLE_TIME,
    "duration_ms": 41,
    "outcome": "acknowledged",
    "status": 200,
    "answer": "OK",
}


def _is_glob(text: str) -> str:
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(
            "An event's type, such as agent.created, or a part of one with * for the rest, such as agent.*"
        )
    return text


def _has_no_spaces(text: str) -> str:
    if not text.isprintable() or any(each.isspace() for each in text):
        raise ValueError("A URL has no spaces and no control characters")
    return text


Event = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200),
    AfterValidator(_is_glob),
    Described("pattern", r"^[\u0021-\u007e]+$"),
]
Events = Annotated[list[Event], Field(min_length=1, max_length=MOST_EVENTS)]
Url = Annotated[
    str,
    StringConstraints(min_length=1, max_length=2000),
    AfterValidator(_has_no_spaces),
    # As most have to be; http:// and private addresses are for what the operator has allowed.
    Described("pattern", r"^https://([a-z0-9]{1,30}\.){1,4}[a-z]{2,20}(:[1-9][0-9]{0,3})?(/[!-~]*)?$"),
]
Rate = Annotated[float, Field(strict=False, ge=0.01, le=1000)]


class Webhook(Own):
    """A webhook without its secret; since `failing_since` it has only failed, until `old_secret_until` both secrets sign."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    url: str
    events: list[str]
    description: str
    max_per_second: float | None
    ordered: bool
    status: Literal["active", "paused", "disabled"]
    status_reason: str | None
    failing_since: datetime | None
    old_secret_until: datetime | None


class WebhookWithSecret(Webhook):
    """A webhook with its secret, which is never told again."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_EXAMPLE, "secret": "whsec_..."}]})

    secret: str


class NewWebhook(Body):
    """A webhook to make: where to, and for which events; `*` in an event's type stands for anything, dots too.

    At most `max_per_second` events are sent; without it as many as the receiver acknowledges. `ordered`: of one subject the next is
    sent when the one before was acknowledged or given up.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"url": _URL, "events": ["agent.*"]}]})

    url: Url
    events: Events
    description: Text = ""
    max_per_second: Rate | None = None
    ordered: bool = False
    start: Start = "now"


class WebhookChange(Body):
    """What of a webhook is to be another; what is left out stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"description": "Tells the support desk"}]})

    url: Url = Field(default_factory=str)
    events: Events = Field(default_factory=list[str])
    description: Text = Field(default_factory=str)
    max_per_second: Rate | None = None


class ListWebhooks(BaseModel):
    """A page of the organisation's webhooks, newest first."""

    model_config = ConfigDict(extra="forbid")

    page: int = Field(1, ge=1, le=1_000_000)
    per_page: int = Field(20, ge=1, le=100)
    status: Literal["active", "paused", "disabled"] | None = None


class ChangeWebhook(DeleteInput):
    """One webhook to change, with the fields that were sent."""

    body: dict[str, Any]


class RotateWebhook(DeleteInput):
    """One webhook to get a new secret; for `overlap_seconds` more the one before signs beside it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"overlap_seconds": 3600}]})

    overlap_seconds: int = Field(24 * 3600, ge=0, le=LONGEST_OVERLAP_SECONDS, strict=True)


class Tried(BaseModel):
    """How a test went: `delivered` or `failed`; `status` is null where there was no answer, then `answer` says why."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"event_id": EXAMPLE_ID, "outcome": "failed", "status": None, "duration_ms": 41, "answer": _NO_ADDRESS}
            ]
        }
    )

    event_id: UUID
    outcome: Literal["delivered", "failed"]
    status: int | None
    duration_ms: int
    answer: str


class Attempt(BaseModel):
    """One attempt: when it began, how long it took, the status and the first 4 KiB of the answer, or why there was none.

    `expired`: the node that sent it has died before it knew.
    """

    number: int
    time: datetime
    duration_ms: int
    outcome: Literal["refused", "expired", "acknowledged"]
    status: int | None
    answer: str | None


class Delivery(BaseModel):
    """One event on its way to one webhook. `next_attempt_at` is null where there is none to come."""

    model_config = ConfigDict(
        json_schema_serialization_defaults_required=True,
        json_schema_extra={
            "examples": [
                {
                    "id": "1",
                    "event_id": EXAMPLE_ID,
                    "type": "agent.created",
                    "subject": f"agents/{EXAMPLE_ID}",
                    "position": "42",
                    "status": "delivered",
                    "next_attempt_at": None,
                    "attempts": [_ATTEMPT],
                }
            ]
        },
    )

    id: str
    event_id: UUID
    type: str
    subject: str
    position: str
    status: Literal["pending", "delivered", "dead_lettered"]
    next_attempt_at: datetime | None
    attempts: list[Attempt]


class ListDeliveries(GetInput):
    """A page of a webhook's deliveries, newest first."""

    page: int = Field(1, ge=1, le=100_000)
    per_page: int = Field(20, ge=1, le=100)
    status: Literal["pending", "delivered", "dead_lettered"] | None = None


class Resend(GetInput):
    """A delivery to make once more."""

    delivery: str


class Resent(BaseModel):
    """A delivery that was made."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"delivery_id": "2", "event_id": EXAMPLE_ID}]})

    delivery_id: str
    event_id: UUID
