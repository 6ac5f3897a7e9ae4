"""What clients do in live rooms besides following them, whichever door they come by: publish, and read the history.

Limits are the same at every door: of what is published, how often, and who may.
"""

from collections.abc import Container, Mapping
from typing import Any, Protocol
from uuid import UUID

import orjson

from core.auth.caller import Caller
from core.errors import HubError
from rooms.live import LiveRooms
from rooms.live_rules import LiveRules
from rooms.live_wire import LiveEntry
from rooms.names import Channel, may_join, may_publish
from rooms.openings import Openings
from rooms.pace import BURST_SECONDS, Paces
from rooms.recovery import Bookmark

# A history costs Redis about as much as a few publishes.
HISTORIES_PER_SECOND = 10.0
HISTORIES_BURST = 40
# What is not kept, such as that somebody types: of one client, into all rooms.
SIGNALS_PER_SECOND = 4.0
SIGNALS_BURST = 8
MOST_HISTORY = 256


class TakesTelemetry(Protocol):
    """Stores what is published for a twin (handlers.twins.telemetry.operations.Telemetry)."""

    async def publish(self, caller: Caller, twin_id: UUID, data: bytes) -> int:
        """Return how many points are stored; raises HubError where none is."""
        ...


class Speaking:
    """Of one node; without `telemetry` none is taken. What it returns is what clients see; everything raises HubError."""

    __slots__ = ("_openings", "_rooms", "_telemetry")

    def __init__(
        self, rooms: LiveRooms, openings: Openings | None = None, telemetry: TakesTelemetry | None = None
    ) -> None:
        self._rooms = rooms
        self._openings = openings
        self._telemetry = telemetry

    def channel(self, caller: Caller, name: str) -> Channel:
        """Take a channel's name apart, as the caller's organisation has it; raises HubError CHANNEL_NOT_FOUND."""
        return self._rooms.namespaces.channel(caller.org_id, name)

    async def publish(
        self, caller: Caller, name: str, data: bytes, paces: Paces, joined: Container[str] = ()
    ) -> Mapping[str, Any]:
        """Publish `data`, which is JSON, into a channel; `paces` and `joined`, what it has subscribed to, are of who publishes."""
        channel, rules = self._published(caller, name, joined)
        self._count(caller, rules, paces)
        if rules.is_stored:
            return await self._store(caller, channel, data)
        published = await self._rooms.publish(
            caller.org_id, channel.name, f"{rules.kind}.message", data, source=caller.subject
        )
        return {"offset": str(published.offset), "epoch": published.epoch, "event_id": str(published.event_id)}

    async def signal(
        self, caller: Caller, name: str, data: bytes, paces: Paces, joined: Container[str] = ()
    ) -> Mapping[str, Any]:
        """Tell those who are there now; nothing is kept."""
        channel, rules = self._published(caller, name, joined)
        if rules.is_stored:
            raise HubError("FORBIDDEN", "What is measured is kept")
        paces.of("signal").take(SIGNALS_PER_SECOND, SIGNALS_BURST)
        id = await self._rooms.signal(caller.org_id, channel.name, f"{rules.kind}.signal", data, source=caller.subject)
        return {"event_id": str(id)}

    async def history(
        self, caller: Caller, name: str, mark: Bookmark, paces: Paces, *, before: int | None, limit: int
    ) -> Mapping[str, Any]:
        """Read what a room keeps: what follows `mark`, or the latest, or the latest below `before`."""
        channel = self.channel(caller, name)
        self.check_reader(caller, channel)
        if channel.live is None:
            raise HubError("CHANNEL_NOT_FOUND", "Only live rooms have a history; the log is read by subscribing")
        paces.of("").take(HISTORIES_PER_SECOND, HISTORIES_BURST)
        await self._check_beginning(caller, channel)
        found = await self._rooms.history(caller.org_id, channel.name, mark, before=before, limit=limit)
        return {
            "channel": channel.name,
            "offset": str(found.head.position),
            "epoch": found.head.epoch,
            "recovered": found.recovered,
            "events": [_event(entry) for entry in found.entries],
        }

    def check_reader(self, caller: Caller, channel: Channel) -> None:
        """Return where `caller` may follow the channel, as far as that can be told without asking; raises HubError."""
        may_join(caller, channel, has_beginning=self._has_beginning(channel))

    async def check_known(self, caller: Caller, channel: Channel) -> None:
        """Return when `caller` may follow the channel; raises HubError, also where it is of something that is not there."""
        self.check_reader(caller, channel)
        await self._check_beginning(caller, channel)

    def _published(self, caller: Caller, name: str, joined: Container[str]) -> tuple[Channel, LiveRules]:
        channel = self.channel(caller, name)
        may_publish(caller, channel)
        rules = channel.live
        assert rules is not None  # noqa: S101 - into others nobody may publish
        if rules.members_only and channel.name not in joined:
            raise HubError("FORBIDDEN", f"Only who has subscribed publishes into channels of {rules.namespace}")
        return channel, rules

    def _count(self, caller: Caller, rules: LiveRules, paces: Paces) -> None:
        """Count an event in the limits of the client and of the organisation; raises HubError where it is one too many."""
        limits = caller.limits
        per_second = limits.telemetry_per_second if rules.is_stored else limits.publishes_per_second
        if rules.publishes_per_second is not None:
            per_second = min(per_second, rules.publishes_per_second)
        paces.of(rules.namespace).take(per_second, per_second * BURST_SECONDS)
        self._rooms.paces.take(caller.org_id, rules)

    async def _check_beginning(self, caller: Caller, channel: Channel) -> None:
        if self._openings is not None and self._has_beginning(channel):
            await self._openings.check(caller, channel.name)

    def _has_beginning(self, channel: Channel) -> bool:
        return self._openings is not None and self._openings.covers(channel.name)

    async def _store(self, caller: Caller, channel: Channel, data: bytes) -> Mapping[str, Any]:
        if self._telemetry is None or channel.resource_id is None:
            raise HubError("SERVICE_UNAVAILABLE", "This node takes no telemetry")
        return {"stored": await self._telemetry.publish(caller, channel.resource_id, data)}


def _event(entry: LiveEntry) -> dict[str, Any]:
    return {"offset": str(entry.position), "event": orjson.Fragment(entry.envelope)}
