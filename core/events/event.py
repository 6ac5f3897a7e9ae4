"""An event, its envelope as it travels, and the channels that it belongs to."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

import orjson

from core.clock import rfc3339

SOURCE = "aimatrix"
# An envelope over this many bytes travels as {id, version, href, truncated}; the log keeps all of it.
TRAVEL_BYTES = 32 * 1024
_DATA = ',"data":'
# What events of applications are about. Subjects of the hub's own events have a slash, so the two never meet.
APPLICATION_SUBJECT = re.compile(r"[A-Za-z0-9._:@-]{1,128}")
APPLICATION_NAMESPACE = "events"
# Of each of these there are rooms of a part, named behind a slash.
_WITH_PARTS = frozenset({"twins"})


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event on its way into the outbox; `channel` is the narrowest that it belongs to."""

    id: UUID
    type: str
    subject: str
    channel: str
    time: datetime
    envelope: str
    short: str | None


@dataclass(frozen=True, slots=True)
class Entry:
    """An event of the log with its position; `envelope` is what travels (the short form where there is one)."""

    position: int
    channel: str
    envelope: str


@dataclass(frozen=True, slots=True)
class LogHead:
    """Where an organisation's log ends: `position` is the last one, 0 of an empty log."""

    epoch: str
    position: int


class Publisher(Protocol):
    """Carries entries of the log to the nodes. Implemented in rooms/, called by the relay."""

    async def publish(self, org_id: UUID, epoch: str, entries: list[Entry]) -> None:
        """Publish entries, in position order. Entries that were published before are ignored, not repeated."""
        ...


def channel_of(subject: str) -> str:
    """Return the narrowest channel of a subject: `agents/<id>` belongs to `agents:<id>`, and so to `agents`."""
    return subject.replace("/", ":", 1)


def application_channel(subject: str) -> str:
    """Return the narrowest channel of an application's subject: `order-17` belongs to `events:order-17`, and so to `events`."""
    return f"{APPLICATION_NAMESPACE}:{subject}"


def namespace_of(channel: str) -> str:
    """Return the namespace of a channel: `agents` for `agents:<id>`, the channel that holds all of a kind.

    That of `twins:<id>/telemetry` is `twins/telemetry`: it is no part of `twins`, and its members hear of nothing else.
    """
    namespace, _, name = channel.partition(":")
    if namespace in _WITH_PARTS and "/" in name:
        return f"{namespace}/{name.partition('/')[2]}"
    return namespace


def new_event(
    *,
    event_id: UUID,
    type: str,
    subject: str,
    time: datetime,
    data: str,
    short: str | None,
    channel: str | None = None,
) -> NewEvent:
    """Build an event; `data` is JSON text, `short` what stands for it when the envelope is too large to travel."""
    head = orjson.dumps(
        {"id": str(event_id), "type": type, "source": SOURCE, "subject": subject, "time": rfc3339(time)}
    ).decode()[:-1]
    envelope = f"{head}{_DATA}{data}}}"
    short_envelope = None
    if len(envelope.encode()) > TRAVEL_BYTES:
        short_envelope = f"{head}{_DATA}{short or 'null'}}}"
    return NewEvent(event_id, type, subject, channel or channel_of(subject), time, envelope, short_envelope)


def data_of(envelope: str) -> str:
    """Return the JSON text of an envelope's data, as it was sent."""
    # Before it stand strings only, in which every quote is escaped: so this is where the data begins.
    return envelope.partition(_DATA)[2][:-1]
