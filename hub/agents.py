"""Agents, wired for one process: models, tools, executions and sessions.

Only a process that does jobs executes; each node begins executions, and shows them.
"""

from collections.abc import Callable

from core.clock import Clock
from core.jobs.jobs import Jobs
from core.operations.operation import Operation
from core.outbound import Outbound, Resolver, SystemResolver
from core.seal import Seal
from core.settings import Settings
from core.store.database import Database
from handlers.agents.credentials import Vault
from handlers.agents.executions.announcing import ExecutionEnds
from handlers.agents.executions.answering import Answering
from handlers.agents.executions.beginning import Executions
from handlers.agents.executions.following import Executing
from handlers.agents.executions.operations import ExecutionOperations
from handlers.agents.executions.runtime import Runtime
from handlers.agents.executions.snapshots import Snapshots
from handlers.agents.executions.tending import ExecutionTender
from handlers.agents.leaving import Leaving
from handlers.agents.operations import Agents
from handlers.agents.purging import Purging
from handlers.agents.sessions.operations import Sessions
from handlers.agents.sessions.prompt import history
from handlers.agents.sessions.sending import Talking
from handlers.agents.sessions.telling import Rooms, Standing, Telling
from handlers.agents.tools.toolbox import Toolboxes
from handlers.knowledge.retrieval.retriever import Retriever
from handlers.models.providers import Models
from hub.jobs import Work
from rooms.live import LiveRooms
from rooms.openings import Openings


class AgentOperations:
    """What can be done with executions and sessions. `rooms` are told what is said, `announce` wakes whoever tells of ends."""

    def __init__(
        self,
        jobs: Jobs,
        rooms: Rooms,
        models: Models,
        executing: Executing,
        clock: Clock,
        announce: Callable[[], None],
    ) -> None:
        executions = Executions(jobs, models, announce)
        self._telling = Telling(rooms)
        self._kinds = (
            ExecutionOperations(executions, Answering(jobs), executing, clock),
            Sessions(executions, self._telling, Leaving(jobs)),
            Talking(executions, self._telling),
        )

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return [each for kind in self._kinds for each in kind.operations()]

    async def close(self) -> None:
        """End what is being told."""
        await self._telling.close()


class AgentParts:
    """The parts. `models` are closed by whoever made them. `secret` is the installation's. `poke` wakes the relay after events.
    `close` comes after the jobs have ended.

    snapshots   what was said so far in the rooms of executions and sessions
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        live: LiveRooms,
        retriever: Retriever,
        models: Models,
        secret: str,
        clock: Clock,
        poke: Callable[[], None],
        resolver: Resolver | None = None,
    ) -> None:
        self._database = database
        self._live = live
        self._clock = clock
        self._poke = poke
        self._models = models
        self._vault = Vault(Seal(secret))
        self._retriever = retriever
        self._outbound = Outbound(settings.outbound_allow, clock, resolver or SystemResolver())
        self.snapshots = Snapshots(database, clock)
        self._openings = Openings(live, self.snapshots, clock)
        self._operations: AgentOperations | None = None
        self._announcer: ExecutionEnds | None = None

    def work(self, jobs: Jobs, system: Database) -> Work:
        """Return what is done by jobs. `system` is a pool of hub_system."""
        self._models.open()
        announcer = self._announcer = ExecutionEnds(
            system, self._live, Standing(self._database, self._live), self._clock
        )
        runtime = Runtime(
            self._database,
            jobs,
            self._live,
            self._models,
            Toolboxes(self._database, self._retriever, self._outbound, self._vault, jobs, self._clock),
            history,
            self._clock,
            poke=self._poke,
            announce=self._announce,
        )

        tender = ExecutionTender(self._database, system, jobs, self._clock, after=self._ended)
        purging = Purging(jobs, self._clock, self._ended)
        return Work([runtime.kind, *purging.kinds], (), {"execution_ends": announcer, "execution_tending": tender})

    def agents(self, jobs: Jobs) -> Agents:
        """Return the agents themselves, whose deletion takes with it what they had."""
        return Agents(self._vault, Leaving(jobs))

    def operations(self, jobs: Jobs) -> list[Operation]:
        """Return the operations on executions and sessions."""
        executing = Executing(self._database, self._openings, self._clock)
        self._operations = AgentOperations(jobs, self._live, self._models, executing, self._clock, self._announce)
        return self._operations.operations()

    async def close(self) -> None:
        """End what is told yet."""
        if self._operations is not None:
            await self._operations.close()
        await self._openings.close()

    def _announce(self) -> None:
        # Where this process does no jobs, another looks within a second.
        if self._announcer is not None:
            self._announcer.wake()

    def _ended(self) -> None:
        self._poke()
        self._announce()
