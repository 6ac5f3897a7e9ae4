"""What the room of a simulation is told when it has ended, and what it has said so far, for who joins in the middle."""

from typing import Any

import orjson

from core.auth.caller import Caller
from core.clock import Clock, rfc3339
from core.errors import HubError
from core.events.event import SOURCE
from core.ids import new_id
from core.store.database import Database
from handlers.lasting.announcing import Announcer, Rooms, first_that_fits, number_of
from handlers.twins.simulations.ending import announcement, progress
from handlers.twins.simulations.models import ENDED
from handlers.twins.simulations.store import SQL, find
from rooms.beginnings import Beginning
from rooms.fence import Fence

NAMESPACE = "simulations"


def room_of(id: object) -> str:
    """Return the channel of a simulation."""
    return f"{NAMESPACE}:{id}"


class SimulationEnds(Announcer):
    """One of a process; `system` is a pool of hub_system."""

    def __init__(self, system: Database, rooms: Rooms, clock: Clock) -> None:
        super().__init__(system, rooms, clock, waiting=SQL["to_announce"], told=SQL["announced"])

    async def _tell(self, row: Any) -> bool:
        said = announcement(row)
        short = {name: value for name, value in said.items() if name != "summary"}
        fence = Fence(str(row["id"]), number_of(row["attempt"], is_end=True), once=True)
        type = f"simulation.{row['status']}"
        return await self._publish(row, room_of(row["id"]), type, first_that_fits(said, short), fence)


class SimulationSnapshots:
    """Implements rooms.beginnings.Beginnings: how far a simulation is, or what it came to.

    Progress is told as a whole each time, so what follows is what comes after it was read; the higher of two is the later.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def covers(self, namespace: str) -> bool:
        """Tell whether a namespace is that of simulations."""
        return namespace == NAMESPACE

    async def find(self, caller: Caller, channel: str) -> Beginning:
        """Return what was said so far in a room; raises HubError CHANNEL_NOT_FOUND where there is none for this caller."""
        async with self._database.read(caller.org_id) as db:
            try:
                row = await find(db, caller, channel.partition(":")[2])
            except HubError as error:
                if error.code == "RESOURCE_NOT_FOUND":
                    raise HubError("CHANNEL_NOT_FOUND") from error
                raise
        return Beginning(self._envelope(channel, row))

    def _envelope(self, channel: str, row: Any) -> str:
        event = {
            "id": str(new_id()),
            "type": "simulation.snapshot",
            "source": SOURCE,
            "subject": channel.replace(":", "/", 1),
            "time": rfc3339(self._clock.now()),
            "data": snapshot(row),
        }
        return orjson.dumps(event).decode()


def snapshot(row: Any) -> dict[str, Any]:
    """Return what a snapshot of a simulation says; of one that has ended also what its end said."""
    return announcement(row) if row["status"] in ENDED else progress(row)
