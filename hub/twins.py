"""Twins, wired for one process: what belongs to them, and how it is done.

Each node takes telemetry, begins simulations, and shows both; a process that does jobs simulates, fetches from sources, and keeps
the partitions.
"""

from collections.abc import Callable
from functools import partial

from core.clock import Clock
from core.jobs.jobs import Jobs
from core.operations.housekeeping import Housekeeping
from core.operations.operation import Operation
from core.outbound import Outbound, Resolver, SystemResolver
from core.pressure import Pressed
from core.settings import Settings
from core.store.database import Database
from handlers.twins.branches.operations import Branches
from handlers.twins.operations import Twins
from handlers.twins.purging import Purging, purging
from handlers.twins.simulation.pool import Limits, Simulators
from handlers.twins.simulations.announcing import SimulationEnds, SimulationSnapshots
from handlers.twins.simulations.beginning import Simulations
from handlers.twins.simulations.following import Watching
from handlers.twins.simulations.operations import SimulationOperations
from handlers.twins.simulations.purging import SimulationPurge
from handlers.twins.simulations.tending import SimulationTender
from handlers.twins.simulations.work import SimulationWork
from handlers.twins.sync.operations import SyncOperations
from handlers.twins.sync.sources import HttpSources
from handlers.twins.sync.work import Synchronisation
from handlers.twins.telemetry.intake import Intake
from handlers.twins.telemetry.keeping import Keeping, drop_old, make_ahead
from handlers.twins.telemetry.operations import Telemetry
from handlers.twins.telemetry.purging import purge_telemetry
from handlers.twins.telemetry.snapshots import TelemetrySnapshots
from handlers.twins.telemetry.telling import Rooms, Telling
from hub.jobs import Work
from rooms.beginnings import JoinedBeginnings
from rooms.live import LiveRooms
from rooms.openings import Openings

PARTITIONS_SECONDS = 3600.0
# By so much, at most, a source is fetched late.
SWEPT_SECONDS = 10.0


class TelemetryParts:
    """What takes and keeps measurements. `close` comes after the doors are shut."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        rooms: Rooms,
        clock: Clock,
        poke: Callable[[], None],
        pressure: Pressed | None,
    ) -> None:
        self._clock = clock
        self._keeping = Keeping(
            points=settings.telemetry_days,
            seconds=settings.telemetry_second_days,
            minutes=settings.telemetry_minute_days,
            hours=settings.telemetry_hour_days,
        )
        self._telling = Telling(rooms)
        self._intake = Intake(database, self._telling, clock, poke, days=settings.telemetry_days, pressure=pressure)
        self.telemetry = Telemetry(self._intake, self._keeping)

    def kept(self, system: Database) -> Housekeeping:
        """Return what makes and drops partitions. `system` is a pool of hub_system."""
        partitions = {
            "made": partial(make_ahead, system, self._clock),
            "dropped": partial(drop_old, system, self._clock, self._keeping),
        }
        return Housekeeping("telemetry.partitions", PARTITIONS_SECONDS, partitions)

    async def close(self) -> None:
        """End what is being stored, and what is being told."""
        await self._intake.close()
        await self._telling.close()


class TwinOperations:
    """What can be done with what twins have. `announce` wakes whoever tells of ends."""

    def __init__(
        self,
        jobs: Jobs,
        twins: Twins,
        watching: Watching,
        telemetry: Telemetry,
        clock: Clock,
        announce: Callable[[], None],
    ) -> None:
        simulations = Simulations(jobs, announce)
        simulating = SimulationOperations(simulations, watching, clock)
        self._kinds = (simulating, telemetry, Branches(twins, simulations), SyncOperations(jobs))

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return [each for kind in self._kinds for each in kind.operations()]


class TwinParts:
    """The parts. `poke` wakes the relay after events. `close` comes after doors are shut and jobs have ended.

    snapshots   what rooms of telemetry and simulations have told so far, for who joins them
    telemetry   what takes points, from every door
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        live: LiveRooms,
        clock: Clock,
        poke: Callable[[], None],
        resolver: Resolver | None = None,
        pressure: Pressed | None = None,
    ) -> None:
        self._database = database
        self._live = live
        self._clock = clock
        self._poke = poke
        limits = Limits(memory=settings.simulator_mib << 20)
        self._simulators = Simulators(settings.simulators, limits, clock)
        self._measuring = TelemetryParts(settings, database, live, clock, poke, pressure)
        self.telemetry = self._measuring.telemetry
        self.snapshots = JoinedBeginnings(SimulationSnapshots(database, clock), TelemetrySnapshots(database, clock))
        self._openings = Openings(live, self.snapshots, clock)
        self._announcer: SimulationEnds | None = None
        self._sources = {"http": HttpSources(Outbound(settings.outbound_allow, clock, resolver or SystemResolver()))}

    def work(self, jobs: Jobs, system: Database) -> Work:
        """Return what is done by jobs. `system` is a pool of hub_system."""
        announcer = self._announcer = SimulationEnds(system, self._live, self._clock)
        work = SimulationWork(self._live, self._simulators, self._clock, poke=self._poke, announce=self._announce)
        tender = SimulationTender(self._database, system, jobs, self._clock, after=self._ended)
        purge = purging([SimulationPurge(jobs, self._clock, after=self._ended), purge_telemetry])
        fetching = Synchronisation(self._database, jobs, self.twins(jobs), self._sources, self._clock, self._poke)
        due = Housekeeping("twins.sync.due", SWEPT_SECONDS, {"twins": fetching.sweep})
        kinds, kept = [work.kind, purge, fetching.kind], [self._measuring.kept(system), due]
        return Work(kinds, kept, {"simulation_ends": announcer, "simulation_tending": tender})

    def twins(self, jobs: Jobs) -> Twins:
        """Return the twins, whose belongings are removed with them."""
        return Twins(Purging(jobs))

    def operations(self, jobs: Jobs) -> list[Operation]:
        """Return the operations on what twins have."""
        watching = Watching(self._database, self._openings, self._clock)
        twins = self.twins(jobs)
        return TwinOperations(jobs, twins, watching, self.telemetry, self._clock, self._announce).operations()

    async def close(self) -> None:
        """End the processes that simulate, and what is being stored."""
        await self._openings.close()
        await self._simulators.close()
        await self._measuring.close()

    def _announce(self) -> None:
        # Where this process does no jobs, another looks within a second.
        if self._announcer is not None:
            self._announcer.wake()

    def _ended(self) -> None:
        self._poke()
        self._announce()
