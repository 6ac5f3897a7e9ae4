"""The frames of rooms that are no subscriptions: `publish`, `history` and `presence`."""

from collections.abc import Container, Mapping
from typing import Any

from core.auth.caller import Caller
from core.clock import Clock
from hub.stream.commands import History, OfRoom, Publish, ReadPresence, SayPresence
from hub.stream.presence_frames import PresenceFrames
from rooms.live import LiveRooms
from rooms.openings import Openings
from rooms.pace import BURST_SECONDS, Paces
from rooms.presence.presence import Presence
from rooms.recovery import Bookmark
from rooms.speaking import HISTORIES_BURST, HISTORIES_PER_SECOND, Speaking, TakesTelemetry


class LiveFrames:
    """Does what one connection asks of rooms; everything raises HubError.

    `joined` are the channels that it has subscribed to, as they are now.
    """

    __slots__ = ("_joined", "_paces", "_presence", "_rooms", "_speaking")

    def __init__(
        self,
        rooms: LiveRooms,
        clock: Clock,
        openings: Openings | None = None,
        telemetry: TakesTelemetry | None = None,
        joined: Container[str] = (),
        presence: Presence | None = None,
        connection: str = "",
    ) -> None:
        self._rooms = rooms
        self._speaking = Speaking(rooms, openings, telemetry)
        self._presence = PresenceFrames(presence, openings, connection)
        self._joined = joined
        self._paces = Paces(clock)

    async def do(self, caller: Caller, command: OfRoom) -> tuple[str, Mapping[str, Any]]:
        """Publish, read the history, or do with presence; return the type and the members of the answer."""
        match command:
            case Publish():
                return "result", {"result": await self._publish(caller, command)}
            case History(channel=name, before=before, limit=limit):
                mark = Bookmark(command.offset, command.epoch)
                found = await self._speaking.history(caller, name, mark, self._paces, before=before, limit=limit)
                return "result", {"result": found}
            case ReadPresence():
                channel = self._rooms.namespaces.channel(caller.org_id, command.channel)
                self._paces.of("").take(HISTORIES_PER_SECOND, HISTORIES_BURST)
                return "presence", await self._presence.read(caller, channel, command)
            case SayPresence():
                channel = self._rooms.namespaces.channel(caller.org_id, command.channel)
                per_second = caller.limits.publishes_per_second
                self._paces.of("presence").take(per_second, per_second * BURST_SECONDS)
                return "presence", await self._presence.say(caller, channel, command)
            case _:
                raise TypeError(f"nothing is done for {type(command).__name__}")

    async def _publish(self, caller: Caller, command: Publish) -> Mapping[str, Any]:
        if command.is_ephemeral:
            return await self._speaking.signal(caller, command.channel, command.data, self._paces, self._joined)
        return await self._speaking.publish(caller, command.channel, command.data, self._paces, self._joined)
