"""One channel of one connection, and what subscriptions need of the connection and of the node."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from core.auth.caller import Caller
from core.clock import Clock
from core.errors import HubError
from core.events.event import Entry
from hub.stream.codes import CloseCode
from hub.stream.commands import Wanted
from hub.stream.consumers import Consumers
from hub.stream.counts import StreamCounts
from hub.stream.fanout import Fanout
from hub.stream.live_frames import TakesTelemetry
from hub.stream.taker import Owner as TakingOwner
from hub.stream.taker import Taker
from hub.stream.wires import Wire
from rooms.feed import Feeds
from rooms.live import LiveRooms
from rooms.live_feed import LiveFeed
from rooms.live_recovery import Place
from rooms.live_rules import rules_of
from rooms.names import is_consumed
from rooms.openings import Openings
from rooms.pages import SharedLog
from rooms.recovery import Start

# What a recovery writes before it waits for the client to have read it.
CHUNK_BYTES = 64 * 1024


class Moments(Protocol):
    """Where in the log something was (core.events.log.LogReader); raises HubError while PostgreSQL is away."""

    async def position_at(self, org_id: UUID, moment: datetime) -> int:
        """Return the highest position that was given not later than `moment`."""
        ...

    async def position_of(self, org_id: UUID, event_id: UUID) -> int | None:
        """Return an event's position, None while it has none."""
        ...


@dataclass(frozen=True, slots=True)
class Sources:
    """Where events come from, shared by all connections of the node."""

    feeds: Feeds
    log: SharedLog
    moments: Moments
    fanout: Fanout
    clock: Clock
    live: LiveRooms
    consumers: Consumers
    # Of the rooms that have a beginning; None where nobody keeps any.
    openings: Openings | None = None
    # None where nobody stores any.
    telemetry: TakesTelemetry | None = None

    def has_beginning(self, channel: str) -> bool:
        """Tell whether who joins the channel is told what was said there so far."""
        return self.openings is not None and self.openings.covers(channel)

    @property
    def counts(self) -> StreamCounts:
        """What all streams of the node did."""
        return self.fanout.counts


class Owner(TakingOwner, Protocol):
    """The connection."""

    @property
    def caller(self) -> Caller | None:
        """Who it speaks for; None until a credential was good."""
        ...

    def end(self, code: CloseCode) -> None:
        """End the connection with `code`."""
        ...

    def crashed(self, error: BaseException) -> None:
        """End the connection because of a fault of the hub."""
        ...

    def error_object(self, refused: HubError) -> Mapping[str, Any]:
        """Return what stands under `error`."""
        ...


class Subscription:
    """One channel; `sent` is the offset up to which its events are in the outbound queue, while it is not live.

    `start` is None until it is placed. Of a live room, `feed` is held by this subscription, and `place` is where it stands there;
    `beginning` is the event that is to be sent before what follows, as long as it was not. A durable subscription has a `taker`
    once it is placed; it is consumed, not followed, and has no offsets here.
    """

    __slots__ = (
        "beginning",
        "channel",
        "feed",
        "is_consumed",
        "is_live",
        "is_of_log",
        "place",
        "prefix",
        "sent",
        "start",
        "taker",
        "task",
        "wanted",
        "wire",
    )

    def __init__(self, wanted: Wanted, wire: Wire) -> None:
        self.channel = wanted.channel
        self.wanted = wanted
        self.wire = wire
        self.prefix = wire.event_prefix(wanted.channel)
        self.start: Start | None = None
        self.sent = 0
        self.is_live = False
        self.task: asyncio.Task[None] | None = None
        self.is_consumed = is_consumed(wanted.channel)
        self.is_of_log = not self.is_consumed and rules_of(wanted.channel) is None
        self.taker: Taker | None = None
        self.feed: LiveFeed | None = None
        self.place: Place | None = None
        self.beginning: str | None = None

    def frame_of(self, entry: Entry) -> bytes:
        """Return the event frame of `entry` for this channel."""
        return self.wire.event(self.prefix, entry, self.wire.envelope(entry))


def chunks_of(parts: Sequence[bytes]) -> list[bytes]:
    """Join frames into chunks of about CHUNK_BYTES."""
    chunks: list[bytes] = []
    pending: list[bytes] = []
    size = 0
    for part in parts:
        pending.append(part)
        size += len(part)
        if size >= CHUNK_BYTES:
            chunks.append(b"".join(pending))
            pending, size = [], 0
    if pending:
        chunks.append(b"".join(pending))
    return chunks
