"""How far a simulation is, on its way to who follows it: into its room four times a second at most, into PostgreSQL once a second.

The log is told of each tenth of the way, once, however many attempts it takes; what is done within a second tells of no tenth.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
import structlog

from core.clock import Clock
from core.errors import HubError
from core.events.event import SOURCE
from core.jobs.run import JobRun
from handlers.lasting.announcing import Rooms, number_of
from handlers.lasting.told import emit
from handlers.twins.simulations.announcing import room_of
from handlers.twins.simulations.ending import progress, told_of
from handlers.twins.simulations.store import SQL
from rooms.fence import Fence, Outrun

TELL_SECONDS = 0.25
SAVE_SECONDS = 1.0


class Telling:
    """Of one attempt. `run()` beside the work; it raises Outrun, or JobLost, where the attempt is not the last any more."""

    def __init__(self, job: JobRun, rooms: Rooms, clock: Clock, row: Any, poke: Callable[[], None]) -> None:
        self._job = job
        self._rooms = rooms
        self._clock = clock
        self._row = row
        self._poke = poke
        self._done = 0
        self._tenths: int = row["tenths"]
        self._more = asyncio.Event()
        self._saved_at = clock.monotonic()

    async def open(self) -> None:
        """Tell that the attempt has begun; raises Outrun."""
        await self._tell("simulation.started" if self._row["attempt"] == 1 else "simulation.restarted")

    def count(self, done: int) -> None:
        """Take how many runs are done."""
        if done > self._done:
            self._done = done
            self._more.set()

    async def run(self) -> None:
        """Tell and save until cancelled."""
        while True:
            await self._more.wait()
            self._more.clear()
            await self._tell("simulation.progress")
            if self._clock.monotonic() - self._saved_at >= SAVE_SECONDS:
                await self._save()
            await self._clock.sleep(TELL_SECONDS)

    async def _tell(self, type: str) -> None:
        said = orjson.dumps({**progress(self._row), "done": self._done})
        fence = Fence(str(self._row["id"]), number_of(self._row["attempt"]))
        channel, org_id = room_of(self._row["id"]), self._row["org_id"]
        try:
            await self._rooms.publish(org_id, channel, type, said, source=SOURCE, fence=fence)
        except HubError as error:  # the next tells more
            structlog.get_logger().warning("progress_not_told", simulation=str(self._row["id"]), error=error.code)

    async def _save(self) -> None:
        """Save how far it is. While PostgreSQL is away nothing is saved; the next is. Raises Outrun, JobLost."""
        self._saved_at = self._clock.monotonic()
        done, now = self._done, self._clock.now()
        tenths = 10 * done // self._row["total"]
        is_new = self._tenths < tenths < 10
        try:
            async with self._job.transaction() as db:
                saved = (self._row["id"], self._row["attempt"], done, tenths)
                row = await db.fetchrow(SQL["count"], *saved)
                if row is None:
                    raise Outrun
                if is_new:
                    await emit(db, row["org_id"], [told_of(row, "progress")], now)
        except HubError as error:
            structlog.get_logger().warning("progress_not_saved", simulation=str(self._row["id"]), error=error.code)
            return
        if is_new:
            self._tenths = tenths
            self._poke()
