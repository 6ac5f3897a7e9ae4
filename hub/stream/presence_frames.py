"""The frame `presence`: who is in a channel, and what a member says of itself."""

from collections.abc import Mapping
from typing import Any

from core.auth.caller import Caller
from core.errors import HubError
from hub.stream.commands import ReadPresence, SayPresence
from rooms.names import Channel, may_join
from rooms.openings import Openings
from rooms.presence.presence import Presence


class PresenceFrames:
    """Does what one connection asks of presence, and returns the members of the answer; everything raises HubError."""

    __slots__ = ("_connection", "_openings", "_presence")

    def __init__(self, presence: Presence | None, openings: Openings | None, connection: str) -> None:
        self._presence = presence
        self._openings = openings
        self._connection = connection

    async def read(self, caller: Caller, channel: Channel, command: ReadPresence) -> Mapping[str, Any]:
        """Return a page of the members of a channel: whoever may join it may read it."""
        presence, openings = self._known(), self._openings
        has_beginning = openings is not None and openings.covers(channel.name)
        may_join(caller, channel, has_beginning=has_beginning)
        presence.check(caller.org_id, channel.name)
        if has_beginning and openings is not None:
            await openings.check(caller, channel.name)
        page = await presence.members(caller.org_id, channel.name, command.after, command.limit)
        return {"channel": channel.name, **page.shown()}

    async def say(self, caller: Caller, channel: Channel, command: SayPresence) -> Mapping[str, Any]:
        """Have the connection say something of itself where it is a member."""
        presence = self._known()
        presence.check(caller.org_id, channel.name)
        applied = await presence.say(caller.org_id, channel.name, self._connection, command.data)
        return {"channel": channel.name, "version": str(applied.version), "epoch": applied.epoch}

    def _known(self) -> Presence:
        if self._presence is None:
            raise HubError("SERVICE_UNAVAILABLE", "This node has no presence")
        return self._presence
