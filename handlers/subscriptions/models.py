"""Subscriptions as clients write and see them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from core.events.subscriptions.subscription import DeliveryWay, Status
from handlers.described import WITHOUT_NUL, no_nul
from handlers.keys.models import Moment
from handlers.resources.models import Body, DeleteInput, GetInput, Name
from handlers.resources.shown import EXAMPLE_ID, EXAMPLE_TIME, Own

MOST_GLOBS = 50
LONGEST_ACK_SECONDS = 12 * 3600
LONGEST_DELAY_SECONDS = 24 * 3600
MOST_PULLED = 1_000
MOST_ANSWERED = 1_000
LONGEST_WAIT_SECONDS = 30
_HOLD = f"42.{EXAMPLE_ID}"
_EXAMPLE: dict[str, JsonValue] = {
    "id": EXAMPLE_ID,
    "name": "billing",
    "delivery": "pull",
    "types": ["agent.*"],
    "subjects": [],
    "status": "active",
    "status_reason": None,
    "position": "1042",
    "ordered": True,
    "max_in_flight": 100,
    "ack_seconds": 30,
    "backoff": {"first_seconds": 1.0, "most_seconds": 600.0},
    "max_deliveries": 20,
    "created_at": EXAMPLE_TIME,
    "updated_at": EXAMPLE_TIME,
    "version": 1,
}
_FIGURES: dict[str, JsonValue] = {
    "lag": 0,
    "outstanding": 3,
    "in_flight": 2,
    "oldest_unacknowledged_seconds": 1.5,
    "dead_letters": 0,
}


Glob = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(no_nul), WITHOUT_NUL]
Types = Annotated[list[Glob], Field(min_length=1, max_length=MOST_GLOBS)]
Subjects = Annotated[list[Glob], Field(max_length=MOST_GLOBS)]
Position = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,18}$")]
InFlight = Annotated[int, Field(ge=1, le=10_000)]
AckSeconds = Annotated[int, Field(ge=1, le=LONGEST_ACK_SECONDS)]
Deliveries = Annotated[int, Field(ge=1, le=1_000)]
Reason = Annotated[str, StringConstraints(max_length=4096), AfterValidator(no_nul), WITHOUT_NUL]
Holds = Annotated[list[Annotated[str, StringConstraints(max_length=64)]], Field(min_length=1, max_length=MOST_ANSWERED)]


class Backoff(Body):
    """The time before a delivery that was refused comes again: the first, and twice the one before up to the most, with jitter."""

    first_seconds: float = Field(1.0, ge=0.1, le=LONGEST_DELAY_SECONDS)
    most_seconds: float = Field(600.0, ge=0.1, le=LONGEST_DELAY_SECONDS)

    def delays(self) -> list[float]:
        """Return the delays one by one; the last holds for all that follow."""
        delays = [min(self.first_seconds, self.most_seconds)]
        while delays[-1] < self.most_seconds:
            delays.append(min(delays[-1] * 2, self.most_seconds))
        return delays


class BehindPosition(Body):
    """Begin behind this position of the log; `0` is its beginning."""

    position: Position


class BehindTime(Body):
    """Begin with what was recorded after this moment."""

    time: Moment


Start = Literal["now"] | BehindPosition | BehindTime


class NewSubscription(Body):
    """A subscription to make: which events, from where on, and how they are handed out."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "billing", "types": ["agent.*"], "start": "now", "ordered": True}]}
    )

    name: Name
    delivery: Literal["pull", "socket"] = "pull"
    types: Types = Field(default_factory=lambda: ["*"])
    subjects: Subjects = Field(default_factory=list[str])
    start: Start = "now"
    ordered: bool = False
    max_in_flight: InFlight = 100
    ack_seconds: AckSeconds = 30
    backoff: Backoff = Field(default_factory=lambda: Backoff.model_validate({}))
    max_deliveries: Deliveries = 20


class SubscriptionChange(Body):
    """What of a subscription is to be another; what is left out stays. Another filter holds for what was not looked at yet."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"max_in_flight": 200}]})

    name: Name = Field(default_factory=str)
    types: Types = Field(default_factory=list[str])
    subjects: Subjects = Field(default_factory=list[str])
    max_in_flight: InFlight = Field(default_factory=int)
    ack_seconds: AckSeconds = Field(default_factory=int)
    backoff: Backoff = Field(default_factory=lambda: Backoff.model_validate({}))
    max_deliveries: Deliveries = Field(default_factory=int)


class BackoffShown(BaseModel):
    """The first and the longest time before a delivery comes again."""

    first_seconds: float
    most_seconds: float


class Subscription(Own):
    """A subscription; `position` is how far it has looked at the log."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    name: str
    delivery: DeliveryWay
    types: list[str]
    subjects: list[str]
    status: Status
    status_reason: str | None
    position: str
    ordered: bool
    max_in_flight: int
    ack_seconds: int
    backoff: BackoffShown
    max_deliveries: int


class SubscriptionNow(Subscription):
    """A subscription and how it is doing: `lag` positions of the log it has not looked at, `outstanding` events are not
    acknowledged, `in_flight` of these are with consumers."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_EXAMPLE, **_FIGURES}]})

    lag: int
    outstanding: int
    in_flight: int
    oldest_unacknowledged_seconds: float | None
    dead_letters: int


class ListSubscriptions(BaseModel):
    """A page of the organisation's subscriptions, newest first."""

    model_config = ConfigDict(extra="forbid")

    page: int = Field(1, ge=1, le=1_000_000)
    per_page: int = Field(20, ge=1, le=100)
    status: Status | None = None
    delivery: DeliveryWay | None = None


class ChangeSubscription(DeleteInput):
    """One subscription to change, with the fields that were sent."""

    body: dict[str, Any]


class Pull(GetInput):
    """How many events at most, and how many seconds to wait where there is none."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"max": 10, "wait_seconds": 0}]})

    max: int = Field(10, ge=1, le=MOST_PULLED, strict=True)
    wait_seconds: float = Field(0.0, ge=0, le=LONGEST_WAIT_SECONDS, strict=True)


class Ack(GetInput):
    """What is done, by the `ack_id` of each delivery."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ack_ids": [_HOLD]}]})

    ack_ids: Holds


class Nack(Ack):
    """What failed, and comes again after its delay, or `delay_seconds`; with `dead_letter` it never comes again."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ack_ids": [_HOLD], "reason": "the database is away"}]})

    delay_seconds: float | None = Field(None, ge=0, le=LONGEST_DELAY_SECONDS, strict=True)
    reason: Reason | None = None
    dead_letter: bool = Field(default=False, strict=True)


class Extend(Ack):
    """What takes longer: its lease ends `seconds` from now."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ack_ids": [_HOLD], "seconds": 120}]})

    seconds: int = Field(ge=1, le=LONGEST_ACK_SECONDS, strict=True)


class Pulled(BaseModel):
    """One delivery: what to acknowledge it by, which attempt it is, and the event."""

    ack_id: str
    attempt: int = Field(ge=1)
    lease_until: datetime
    position: str
    replayed: bool
    event: dict[str, Any]


_EVENT: dict[str, JsonValue] = {
    "id": EXAMPLE_ID,
    "type": "agent.updated",
    "source": "aimatrix",
    "subject": f"agents/{EXAMPLE_ID}",
    "time": EXAMPLE_TIME,
    "data": {"id": EXAMPLE_ID},
}


class PulledEvents(BaseModel):
    """What was handed out, oldest first; empty where nothing came in time."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "deliveries": [
                        {
                            "ack_id": _HOLD,
                            "attempt": 1,
                            "lease_until": EXAMPLE_TIME,
                            "position": "1042",
                            "replayed": False,
                            "event": _EVENT,
                        }
                    ]
                }
            ]
        }
    )

    deliveries: list[Pulled]


class Answered(BaseModel):
    """Of the `ack_ids`, which were `done`, and of which the lease was `lost`: these are with another, or were answered before."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"done": [_HOLD], "lost": []}]})

    done: list[str]
    lost: list[str]
