"""The jobs of a process, wired: what kinds there are, workers where it does jobs, pokes, figures."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

from core.clock import Clock
from core.events.subscriptions.consumer import Consumer
from core.events.subscriptions.totals import SubscriptionFigures
from core.jobs.figures import Figures, JobFigures
from core.jobs.jobs import Jobs
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


class JobParts:
    """`jobs` makes them. `workers` is None where this process does none. `close` comes after what runs has ended."""

    def __init__(self, url: str, database: Database, redis: Redis, clock: Clock, *, does_jobs: bool) -> None:
        self._system = Database(url, role="hub_system", size=POOL_SIZE)
        self.figures = JobFigures(self._system, clock)
        self.subscriptions = SubscriptionFigures(self._system, clock)
        tidied = self._housekeeping(database, clock)
        kinds, schedules = [each.kind for each in tidied], [each.schedule for each in tidied]
        self.workers = Workers(url, database, self._system, kinds, clock, schedules=schedules) if does_jobs else None
        self.pokes = Pokes(self.workers, redis, clock, JOBS_CHANNEL)
        self.jobs = Jobs(clock, self.pokes.poke)

    @property
    def running(self) -> Mapping[str, Workers | JobFigures | SubscriptionFigures]:
        """What works in the background, by name."""
        workers = {} if self.workers is None else {"jobs": self.workers}
        return {"figures": self.figures, "subscriptions": self.subscriptions} | workers

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
