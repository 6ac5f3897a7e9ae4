"""One channel of one connection, and what subscriptions need of the connection and of the node."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from hub.stream.presence_listeners import NodePresence
from hub.stream.taker import Owner as TakingOwner
from hub.stream.taker import Taker
from hub.stream.turnstile import Turnstile
from hub.stream.view_rooms import frame_of
from hub.stream.wires import Wire
from rooms.feed import Feeds
from rooms.live import LiveRooms
from rooms.live_feed import LiveFeed
from rooms.live_recovery import Place
from rooms.names import is_consumed, is_of_log
from rooms.openings import Openings
from rooms.pages import SharedLog
from rooms.presence.feed import PresenceFeed
from rooms.recovery import Start
from rooms.speaking import TakesTelemetry
from rooms.views import WHOLE, Sight, View, Watch
from rooms.wildcards import source_of

# What a recovery writes before it waits for the client to have read it.
CHUNK_BYTES = 64 * 1024
# In a turn of the loop: some milliseconds' work.
JOINS_PER_TURN = 10


class Moments(Protocol):
    """Where in the log something was (core.events.log.LogReader); raises HubError while PostgreSQL is away."""

    async def position_at(self, org_id: UUID, moment: datetime) -> int:
        """Return the highest position that was given not later than `moment`."""
        ...

    async def position_of(self, org_id: UUID, event_id: UUID) -> int | None:
        """Return an event's position, None while it has none."""
        ...

    async def read_timed(
        self, org_id: UUID, channel: str, *, after: int, upto: int, limit: int
    ) -> list[tuple[Entry, datetime]]:
        """Return entries of a channel, each with when it was recorded."""
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
    presence: NodePresence | None = None
    # Joins and pages of recoveries go on by turns of organisations.
    joining: Turnstile[UUID] = field(default_factory=lambda: Turnstile[UUID](JOINS_PER_TURN))

    def has_beginning(self, channel: str) -> bool:
        """Tell whether who joins the channel is told what was said there so far."""
        return self.openings is not None and self.openings.covers(channel)

    @property
    def counts(self) -> StreamCounts:
        """What all streams of the node did."""
        return self.fanout.counts


class Owner(TakingOwner, Protocol):
    """The connection."""

    id: str

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
    once it is placed; it is consumed, not followed, and has no offsets here. It is in the room of `source`, another
    channel only where it is a wildcard; `view` is what it wants of it, None where that is everything as it is.
    `is_present`: it makes the connection a member, whom others see; `heard` tells the connection of those others.
    """

    __slots__ = (
        "_watch",
        "beginning",
        "channel",
        "feed",
        "heard",
        "is_consumed",
        "is_live",
        "is_of_log",
        "is_present",
        "place",
        "prefix",
        "sent",
        "source",
        "start",
        "taker",
        "task",
        "view",
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
        self.is_of_log = is_of_log(wanted.channel)
        self.taker: Taker | None = None
        self.feed: LiveFeed | None = None
        self.place: Place | None = None
        self.beginning: str | None = None
        self.is_present = False
        self.heard: PresenceFeed | None = None
        self.source = source_of(wanted.channel)
        self.view: View | None = wanted.view
        # Of what it missed; what is live is looked at for all who share the view.
        self._watch: Watch | None = None

    def frame_of(self, entry: Entry, *, replayed: bool = False) -> bytes:
        """Return the event frame of `entry` for this channel, of what was missed; nothing where its view does not show it.

        Called with each entry of the channel, in order, until it is live.
        """
        if self.view is None and not replayed:
            return self.wire.event(self.prefix, entry, self.wire.envelope(entry))
        sight, shown = Sight(entry), WHOLE
        if self.view is not None:
            if self._watch is None:
                # Deltas are made for many at once: what was missed comes whole.
                self._watch = Watch(replace(self.view, delta=False))
            shown = self._watch.look(sight)
        if shown is None:
            return b""
        marks = {"replayed": True} if replayed else {}
        return frame_of(self.wire, self.channel, sight, shown, **marks)


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
