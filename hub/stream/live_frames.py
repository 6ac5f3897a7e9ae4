"""The frames of live rooms that are no subscriptions: `publish` and `history`."""

import math
from collections.abc import Mapping
from typing import Any, Protocol
from uuid import UUID

import orjson

from core.auth.caller import Caller
from core.clock import Clock
from core.errors import HubError
from hub.stream.commands import History, Publish
from rooms.live import LiveRooms
from rooms.live_rules import LIVE, LiveRules
from rooms.live_wire import LiveEntry
from rooms.names import Channel, may_join, may_publish, parse_channel
from rooms.openings import Openings
from rooms.recovery import Bookmark

# A history costs Redis about as much as a few publishes.
HISTORIES_PER_SECOND = 10.0
HISTORIES_BURST = 40
# What may be published in so many seconds may come at once.
PUBLISH_BURST_SECONDS = 2


class Pace:
    """How often something may be done: `burst` at once, `per_second` in the long run. Both may change with each `take`."""

    __slots__ = ("_at", "_clock", "_left")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left = math.inf
        self._at = clock.monotonic()

    def take(self, per_second: float, burst: int) -> None:
        """Count one; raises HubError RATE_LIMIT_EXCEEDED where it is one too many."""
        now = self._clock.monotonic()
        self._left = min(burst, self._left + (now - self._at) * per_second)
        self._at = now
        if self._left < 1:
            again = f": again in {(1 - self._left) / per_second:.2f} s" if per_second else ""
            raise HubError("RATE_LIMIT_EXCEEDED", f"Rate limit exceeded{again}", retry_after=1)
        self._left -= 1


class TakesTelemetry(Protocol):
    """Stores what is published for a twin (handlers.twins.telemetry.operations.Telemetry)."""

    async def publish(self, caller: Caller, twin_id: UUID, data: bytes) -> int:
        """Return how many points are stored; raises HubError where none is."""
        ...


class LiveFrames:
    """Does what one connection asks of live rooms. What it returns stands under `result`; everything raises HubError."""

    __slots__ = ("_clock", "_openings", "_paces", "_rooms", "_telemetry")

    def __init__(
        self,
        rooms: LiveRooms,
        clock: Clock,
        openings: Openings | None = None,
        telemetry: "TakesTelemetry | None" = None,
    ) -> None:
        self._rooms = rooms
        self._telemetry = telemetry
        self._openings = openings
        self._clock = clock
        self._paces: dict[str, Pace] = {}

    async def do(self, caller: Caller, command: Publish | History) -> Mapping[str, Any]:
        """Publish, or read the history."""
        channel = parse_channel(command.channel)
        if isinstance(command, Publish):
            return await self._publish(caller, channel, command)
        return await self._history(caller.org_id, caller, channel, command)

    async def _publish(self, caller: Caller, channel: Channel, command: Publish) -> Mapping[str, Any]:
        may_publish(caller, channel)
        rules = LIVE[channel.namespace]
        limits = caller.limits
        per_second = limits.telemetry_per_second if rules.is_stored else limits.publishes_per_second
        self._pace(channel.namespace).take(per_second, per_second * PUBLISH_BURST_SECONDS)
        if rules.is_stored:
            return await self._store(caller, channel, command.data)
        published = await self._rooms.publish(
            caller.org_id, channel.name, _type_of(rules), command.data, source=caller.subject
        )
        return {"offset": str(published.offset), "epoch": published.epoch, "event_id": str(published.event_id)}

    async def _store(self, caller: Caller, channel: Channel, data: bytes) -> Mapping[str, Any]:
        if self._telemetry is None or channel.resource_id is None:
            raise HubError("SERVICE_UNAVAILABLE", "This node takes no telemetry")
        return {"stored": await self._telemetry.publish(caller, channel.resource_id, data)}

    async def _history(self, org_id: UUID, caller: Caller, channel: Channel, command: History) -> Mapping[str, Any]:
        has_beginning = self._openings is not None and self._openings.covers(channel.name)
        may_join(caller, channel, has_beginning=has_beginning)
        if channel.live is None:
            raise HubError("CHANNEL_NOT_FOUND", "Only live rooms have a history; the log is read by subscribing")
        self._pace("").take(HISTORIES_PER_SECOND, HISTORIES_BURST)
        if has_beginning and self._openings is not None:
            await self._openings.check(caller, channel.name)
        mark = Bookmark(command.offset, command.epoch)
        found = await self._rooms.history(org_id, channel.name, mark, before=command.before, limit=command.limit)
        return {
            "channel": channel.name,
            "offset": str(found.head.position),
            "epoch": found.head.epoch,
            "recovered": found.recovered,
            "events": [_event(entry) for entry in found.entries],
        }

    def _pace(self, name: str) -> Pace:
        pace = self._paces.get(name)
        if pace is None:
            pace = self._paces[name] = Pace(self._clock)
        return pace


def _type_of(rules: LiveRules) -> str:
    """Return the type of what clients publish: `chat.message`, `user.message`."""
    return f"{rules.namespace.removesuffix('s')}.message"


def _event(entry: LiveEntry) -> dict[str, Any]:
    return {"offset": str(entry.position), "event": orjson.Fragment(entry.envelope)}
