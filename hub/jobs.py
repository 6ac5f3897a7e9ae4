"""The jobs of a process, wired: what kinds there are, workers where it does jobs, pokes, figures."""

from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from core.clock import Clock
from core.events.subscriptions.consumer import Consumer
from core.events.subscriptions.totals import SubscriptionFigures
from core.jobs.figures import Figures, JobFigures
from core.jobs.jobs import Jobs
from core.jobs.kind import JobKind
from core.jobs.retention import JobRetention
from core.jobs.workers import Workers
from core.operations.housekeeping import Housekeeping, sweep_attempts, sweep_idempotency
from core.operations.operation import Operation
from core.store.database import Database
from core.store.redis import Redis
from handlers.jobs.operations import JobOperations
from hub.pokes import JOBS_CHANNEL, Pokes

# Connections by which ends, progress and figures are written and read; they are used for a moment.
POOL_SIZE = 4
TIDIED_SECONDS = 600.0
# By so much, at most, the death of an event is told late that nobody asks for any more.
BURIED_SECONDS = 60.0


class Runs(Protocol):
    """What works in the background until it is cancelled."""

    def run(self) -> Coroutine[Any, Any, None]:
        """Work."""
        ...


@dataclass(frozen=True, slots=True)
class Work:
    """Kinds of jobs, what is to be tidied, and what works in the background of a process that does jobs, by name."""

    kinds: Sequence[JobKind] = ()
    tidied: Sequence[Housekeeping] = ()
    running: Mapping[str, Runs] = field(default_factory=dict[str, Runs])


def joined_work(*parts: Callable[[Jobs, Database], Work]) -> Callable[[Jobs, Database], Work]:
    """Return what makes the work of several parts."""

    def work(jobs: Jobs, system: Database) -> Work:
        made = [part(jobs, system) for part in parts]
        return Work(
            [kind for each in made for kind in each.kinds],
            [tidied for each in made for tidied in each.tidied],
            {name: runs for each in made for name, runs in each.running.items()},
        )

    return work


class JobParts:
    """`jobs` makes them. `workers` is None where this process does none. `close` comes after what runs has ended.

    `more` is what other parts have done by jobs; it is given these, and a pool of hub_system.
    """

    def __init__(
        self,
        url: str,
        database: Database,
        redis: Redis,
        clock: Clock,
        *,
        does_jobs: bool,
        more: Callable[[Jobs, Database], Work] | None = None,
    ) -> None:
        self._system = Database(url, role="hub_system", size=POOL_SIZE)
        self.figures = JobFigures(self._system, clock)
        self.subscriptions = SubscriptionFigures(self._system, clock)
        self.jobs = Jobs(clock, self._poke)
        work = Work() if more is None else more(self.jobs, self._system)
        tidied = [*self._housekeeping(database, clock), *work.tidied]
        kinds, schedules = [*work.kinds, *(each.kind for each in tidied)], [each.schedule for each in tidied]
        self.workers = Workers(url, database, self._system, kinds, clock, schedules=schedules) if does_jobs else None
        self.pokes = Pokes(self.workers, redis, clock, JOBS_CHANNEL)
        self._beside = work.running

    @property
    def running(self) -> Mapping[str, Runs]:
        """What works in the background, by name."""
        return {"figures": self.figures, "subscriptions": self.subscriptions, **self.working}

    @property
    def working(self) -> Mapping[str, Runs]:
        """What of it does jobs, or belongs to them; nothing in a process that does none."""
        return {} if self.workers is None else {"jobs": self.workers, **self._beside}

    @property
    def pulled(self) -> Counter[str]:
        """Where it is counted what consumers of subscriptions do."""
        return self.subscriptions.counts

    @property
    def by_kind(self) -> Mapping[str, Figures]:
        """What waits and runs on all workers."""
        return self.figures.by_kind

    @property
    def ended(self) -> Mapping[tuple[str, str], int]:
        """How many attempts have ended in this process, by kind and outcome."""
        return {} if self.workers is None else self.workers.ended

    def _poke(self) -> None:
        # The pokes come after the workers, which come after the kinds, which make jobs.
        self.pokes.poke()

    def operations(self) -> list[Operation]:
        """Return the operations on jobs."""
        return JobOperations(self.jobs).operations()

    def _housekeeping(self, database: Database, clock: Clock) -> Sequence[Housekeeping]:
        sweeps = {
            "idempotency": partial(sweep_idempotency, database),
            "attempts": partial(sweep_attempts, database),
            "jobs": JobRetention(self._system, clock).sweep,
        }
        # What it announces waits for the relay's own look, a second at most: this process may have none to poke.
        consumer = Consumer(self._system, clock, poke=lambda: None)
        return (
            Housekeeping("housekeeping", TIDIED_SECONDS, sweeps),
            Housekeeping("subscriptions.bury", BURIED_SECONDS, {"dead_letters": consumer.bury_exhausted}),
        )

    async def drain(self, seconds: float) -> None:
        """Claim no more; what runs has so long to end, then it goes back."""
        if self.workers is not None:
            await self.workers.drain(seconds)

    async def close(self) -> None:
        """Close what is left."""
        await self.pokes.close()
        await self._system.close()
