"""What clients ask for, once their frames are understood."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from core.errors import HubError
from core.events.subscriptions.subscription import Hold
from hub.stream.codes import CloseCode
from hub.stream.frames import FrameId
from rooms.views import View


@dataclass(frozen=True, slots=True)
class Pace:
    """How what was missed is given: `speed` times as fast as it was recorded, no silence longer than `max_gap` seconds."""

    speed: float
    max_gap: float | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A channel that the client may have, and after which place it wants to go on: at most one of the three is there.

    `offset` (of `epoch`), the moment `since`, or the event `after_event`; without any, the present. Of a durable subscription,
    which knows the place itself, `max_in_flight` is how many deliveries the client takes before it answers.
    `presence`: it hears who comes and goes, and is seen itself. `view` is what it wants of the channel, None where it wants all as
    it is; `pace` how it wants what it missed, None: at once.
    """

    channel: str
    offset: int | None = None
    epoch: str | None = None
    since: datetime | None = None
    after_event: UUID | None = None
    max_in_flight: int | None = None
    presence: bool = False
    view: View | None = None
    pace: Pace | None = None


@dataclass(frozen=True, slots=True)
class RefusedChannel:
    """A channel that the client asked for and does not get."""

    channel: str
    error: HubError


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Join channels; each appears once, the first mention counts, in the order of the frame."""

    id: FrameId
    items: tuple[Wanted | RefusedChannel, ...]


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Leave channels; each appears once."""

    id: FrameId
    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OfRoom:
    """Ask something of one room, beside its subscription."""

    id: FrameId
    channel: str


@dataclass(frozen=True, slots=True)
class Publish(OfRoom):
    """Publish `data` (JSON) into a live room; `is_ephemeral`: for those who are there now, and nobody keeps it."""

    data: bytes
    is_ephemeral: bool = False


@dataclass(frozen=True, slots=True)
class ReadPresence(OfRoom):
    """Read who is there: at most `limit` members, those behind the subject `after`."""

    after: str | None
    limit: int


@dataclass(frozen=True, slots=True)
class SayPresence(OfRoom):
    """Say `data` (JSON) of the connection to those who read who is there."""

    data: bytes


@dataclass(frozen=True, slots=True)
class History(OfRoom):
    """Read a live room: what follows `offset`, or the latest, or the latest below `before`."""

    offset: int | None
    epoch: str | None
    before: int | None
    limit: int


@dataclass(frozen=True, slots=True)
class Call:
    """Run an operation."""

    id: FrameId
    operation: str
    input: Mapping[str, Any]
    idempotency_key: str | None


@dataclass(frozen=True, slots=True)
class Settle:
    """Answer deliveries of a durable subscription; each appears once."""

    id: FrameId
    channel: str
    holds: tuple[Hold, ...]


@dataclass(frozen=True, slots=True)
class Ack(Settle):
    """They are done."""


@dataclass(frozen=True, slots=True)
class Nack(Settle):
    """They come again, after `delay_seconds` or the subscription's delay; as a dead letter, not at all."""

    delay_seconds: float | None
    reason: str | None
    dead_letter: bool


@dataclass(frozen=True, slots=True)
class Extend(Settle):
    """They take longer: until `seconds` from now."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Take this credential for the connection."""

    id: FrameId
    token: str


@dataclass(frozen=True, slots=True)
class Ping:
    """Answer with a pong."""

    id: FrameId


@dataclass(frozen=True, slots=True)
class Refusal:
    """The frame is refused; `id` is the frame's where it could be read."""

    id: FrameId
    error: HubError


@dataclass(frozen=True, slots=True)
class Violation:
    """The connection ends with `code`; `refusal` is said before, where there is one."""

    code: CloseCode
    refusal: Refusal | None = None


# What is done for a caller.
Asked = Subscribe | OfRoom | Call | Settle
Command = Asked | Unsubscribe | Authenticate | Ping | Refusal | Violation
