"""What can be done with channels without following them: publish into one, read what it keeps, see who is there."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Protocol
from uuid import UUID

import orjson

from core.auth.caller import Caller
from core.clock import Clock
from core.errors import Detail, HubError
from core.operations.context import Context
from core.operations.operation import Operation, operation, operations_of
from core.operations.results import Shown
from core.pressure import Calm, Part, Pressed
from handlers.channels.models import (
    ChannelHistory,
    HistoryInput,
    Presence,
    PresenceInput,
    PublishedInto,
    PublishInput,
)
from rooms.names import Channel
from rooms.pace import Paces
from rooms.recovery import Bookmark

# Callers whose pace is remembered: beyond them the one who was quiet longest begins anew.
MOST_CALLERS = 10_000


class PresencePage(Protocol):
    """A page of members (rooms.presence.page.PresencePage)."""

    def shown(self) -> Mapping[str, Any]:
        """Return it as clients see it; to be written by orjson."""
        ...


class Present(Protocol):
    """Tells who is in a channel (rooms.presence.presence)."""

    async def members(self, org_id: UUID, channel: str, after: str | None, limit: int) -> PresencePage:
        """Return those behind `after`; raise HubError CHANNEL_NOT_FOUND where the channel has no presence, and 503."""
        ...


class Speaks(Protocol):
    """What clients do in live rooms (rooms.speaking.Speaking)."""

    def channel(self, caller: Caller, name: str) -> Channel:
        """Take a channel's name apart."""
        ...

    async def publish(self, caller: Caller, name: str, data: bytes, paces: Paces) -> Mapping[str, Any]:
        """Publish JSON."""
        ...

    async def history(
        self, caller: Caller, name: str, mark: Bookmark, paces: Paces, *, before: int | None, limit: int
    ) -> Mapping[str, Any]:
        """Read what a room keeps."""
        ...

    async def check_known(self, caller: Caller, channel: Channel) -> None:
        """Return when `caller` may follow the channel."""
        ...


class Channels:
    """Live rooms, for those who have no socket. Without `present` nobody knows who is there; under `pressure` both are refused."""

    def __init__(
        self, speaking: Speaks, clock: Clock, present: Present | None = None, pressure: Pressed | None = None
    ) -> None:
        self._speaking = speaking
        self._pressure = pressure or Calm()
        self._clock = clock
        self._present = present
        # By organisation and subject: a pace is of a person or a program, as that of a socket.
        self._paces: OrderedDict[tuple[UUID, str], Paces] = OrderedDict()

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return operations_of(self)

    @operation(
        "channels.publish",
        scope=None,
        transaction="none",
        input=PublishInput,
        result=Shown,
        shows=PublishedInto,
    )
    async def publish(self, ctx: Context, new: PublishInput) -> Shown:
        """Publish into a live room."""
        self._pressure.check(Part.PUBLISHES)
        try:
            data = orjson.dumps(new.data)
        except orjson.JSONEncodeError as broken:
            detail = Detail("data", "INVALID_FORMAT", "It is nested too deeply, or a number in it is too large")
            raise HubError("VALIDATION_ERROR", details=[detail]) from broken
        return _shown(await self._speaking.publish(ctx.caller, new.channel, data, self._paces_of(ctx.caller)))

    @operation(
        "channels.history",
        scope=None,
        transaction="none",
        input=HistoryInput,
        result=Shown,
        shows=ChannelHistory,
        repeatable=True,
    )
    async def history(self, ctx: Context, wanted: HistoryInput) -> Shown:
        """Read what a live room keeps."""
        if self._speaking.channel(ctx.caller, wanted.channel).live is None:
            detail = Detail("channel", "INVALID_FORMAT", "It is a channel of the log: GET /v2/events reads that")
            raise HubError("VALIDATION_ERROR", details=[detail])
        if wanted.after is not None and wanted.before is not None:
            raise HubError("VALIDATION_ERROR", details=[Detail("before", "INVALID_FORMAT", "Either it, or `after`")])
        mark = Bookmark(None if wanted.after is None else int(wanted.after), wanted.epoch)
        before = None if wanted.before is None else int(wanted.before)
        paces = self._paces_of(ctx.caller)
        return _shown(
            await self._speaking.history(ctx.caller, wanted.channel, mark, paces, before=before, limit=wanted.limit)
        )

    @operation(
        "channels.presence",
        scope=None,
        transaction="none",
        input=PresenceInput,
        result=Shown,
        shows=Presence,
        repeatable=True,
    )
    async def presence(self, ctx: Context, wanted: PresenceInput) -> Shown:
        """See who is in a channel."""
        self._pressure.check(Part.PRESENCE)
        await self._speaking.check_known(ctx.caller, self._speaking.channel(ctx.caller, wanted.channel))
        if self._present is None:
            raise HubError("SERVICE_UNAVAILABLE", "This node does not know who is where", retry_after=60)
        page = await self._present.members(ctx.caller.org_id, wanted.channel, wanted.after, wanted.limit)
        return _shown({"channel": wanted.channel, **page.shown()})

    def _paces_of(self, caller: Caller) -> Paces:
        key = caller.org_id, caller.subject
        paces = self._paces.pop(key, None) or Paces(self._clock)
        self._paces[key] = paces
        if len(self._paces) > MOST_CALLERS:
            self._paces.popitem(last=False)
        return paces


def _shown(answer: Mapping[str, Any]) -> Shown:
    return Shown(orjson.dumps(answer).decode())
