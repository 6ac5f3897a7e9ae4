"""What a subscription is, and what a consumer holds of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from core.ids import parse_id

DeliveryWay = Literal["push", "pull", "socket"]
Status = Literal["active", "paused", "disabled"]
# How many deliveries of one subscription, or of one replay, are outstanding at most: what is handed out comes from these.
WINDOW = 1_000
# Of the answer or reason of an attempt, so much is kept.
ANSWER_BYTES = 4096


@dataclass(frozen=True, slots=True)
class NewSubscription:
    """A subscription to make. `subjects` empty means all; `target` is for push, what is pushed to.

    `delays` are the seconds before the second, third, ... attempt, of which the last holds for all that follow.
    """

    id: UUID
    name: str
    delivery: DeliveryWay
    types: Sequence[str]
    subjects: Sequence[str] = ()
    ordered: bool = False
    max_in_flight: int = 100
    ack_seconds: float = 30.0
    delays: Sequence[float] = (1.0,)
    max_deliveries: int = 20
    target: UUID | None = None


@dataclass(frozen=True, slots=True)
class Subscription:
    """A subscription as it is kept; `cursor` is the position up to which the log was looked at for it."""

    id: UUID
    version: int
    name: str
    delivery: DeliveryWay
    types: tuple[str, ...]
    subjects: tuple[str, ...]
    cursor: int
    status: Status
    status_reason: str | None
    ordered: bool
    max_in_flight: int
    ack_seconds: float
    delays: tuple[float, ...]
    max_deliveries: int
    target: UUID | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Outlook:
    """How a subscription stands, and in how many `seconds` it may have something to lease; None: only with a new event."""

    seconds: float | None
    delivery: DeliveryWay
    status: Status
    status_reason: str | None
    ack_seconds: float


@dataclass(frozen=True, slots=True)
class Hold:
    """What a consumer answers with: the delivery, and the lease that it has of it. Written `<delivery>.<lease>`."""

    delivery: int
    lease: UUID

    @classmethod
    def parse(cls, text: str) -> "Hold | None":
        """Return the hold that `text` spells, None where it spells none."""
        number, _, lease = text.partition(".")
        token = parse_id(lease)
        if token is None or not (number.isascii() and number.isdigit() and len(number) <= 18):
            return None
        return cls(int(number), token)

    def __str__(self) -> str:
        return f"{self.delivery}.{self.lease}"


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event that a consumer holds until `lease_until`; `attempt` is 1 the first time. `envelope` is the whole event, as JSON.

    `expired`: whoever had it before let its lease end.
    """

    hold: Hold
    attempt: int
    lease_until: datetime
    position: int
    event_id: UUID
    type: str
    subject: str
    time: datetime
    replayed: bool
    envelope: str
    expired: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What an attempt met: the status of an HTTP answer where there was one, and its text or the consumer's reason."""

    status: int | None = None
    text: str | None = None

    def kept(self) -> str | None:
        """Return the first 4 KiB of the text, in whole characters, without what PostgreSQL cannot keep."""
        if self.text is None:
            return None
        return self.text.replace("\0", "\ufffd").encode("utf-8", "replace")[:ANSWER_BYTES].decode("utf-8", "ignore")


@dataclass(frozen=True, slots=True)
class Buried:
    """A delivery that became a dead letter."""

    id: UUID
    position: int
    event_id: UUID
    type: str
    subject: str
    attempts: int
    reason: str
