"""Channels for those who have no socket, wired for one node."""

from core.clock import Clock
from core.operations.operation import Operation
from core.pressure import Pressed
from handlers.channels.operations import Channels, Present
from rooms.beginnings import Beginnings
from rooms.live import LiveRooms
from rooms.openings import Openings
from rooms.speaking import Speaking, TakesTelemetry


class ChannelParts:
    """`present` tells who is where; without it nobody is told. `close` comes after the doors are shut."""

    def __init__(
        self,
        live: LiveRooms,
        beginnings: Beginnings,
        telemetry: TakesTelemetry,
        clock: Clock,
        present: Present | None = None,
        pressure: Pressed | None = None,
    ) -> None:
        self._openings = Openings(live, beginnings, clock)
        self._channels = Channels(Speaking(live, self._openings, telemetry), clock, present, pressure)

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return self._channels.operations()

    async def close(self) -> None:
        """End what is under way."""
        await self._openings.close()
