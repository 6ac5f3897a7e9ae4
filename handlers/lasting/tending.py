"""What nobody works on any more is brought to an end: what is over its time, and that whose job has ended without it.

The rows are found for all organisations, and ended one by one as their own organisation would: whoever works on one is outrun.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Literal

import structlog

from core.clock import Clock
from core.errors import HubError
from core.jobs.jobs import Jobs
from core.store.database import Database
from core.store.statements import Statements

AT_ONCE = 100
LATE_SECONDS = 1.0
# Looking for those that nobody works on costs a look at each that is open.
LEFT_SECONDS = 10.0
_ERRORS = {
    "late": ("TIMEOUT", "It was not done by its deadline"),
    "left": ("INTERNAL_ERROR", "It was given up: no attempt at it came to an end"),
}

Due = Literal["late", "left"]


class Tender(ABC):
    """One of a process that does jobs, for one `kind` of them. `run()` beside everything else; `after` is called when something
    was ended.

    `late` and `left` ($1: now, $2: how many) find rows with `id` and `org_id`; the id is the key of their job.
    """

    def __init__(
        self,
        app: Database,
        system: Database,
        jobs: Jobs,
        clock: Clock,
        *,
        kind: str,
        late: str,
        left: str,
        after: Callable[[], None],
    ) -> None:
        self._app = app
        self._system = system
        self._jobs = jobs
        self._clock = clock
        self._kind = kind
        self._queries: dict[Due, str] = {"late": late, "left": left}
        self._after = after

    async def run(self) -> None:
        """Look, until cancelled; while PostgreSQL is away it waits."""
        left_at = self._clock.monotonic() + LEFT_SECONDS
        while True:
            await self._clock.sleep(LATE_SECONDS)
            names: list[Due] = ["late"]
            if self._clock.monotonic() >= left_at:
                left_at = self._clock.monotonic() + LEFT_SECONDS
                names.append("left")
            try:
                for name in names:
                    await self.tend(name)
            except HubError as error:
                structlog.get_logger().warning("not_tended", kind=self._kind, error=error.code)

    async def tend(self, name: Due) -> int:
        """End what is `late`, or what is `left`; returns how many were. Raises HubError while PostgreSQL is away."""
        async with self._system.unbound() as db:
            rows = await db.fetch(self._queries[name], self._clock.now(), AT_ONCE)
        ended = 0
        for row in rows:
            ended += await self._end(row, name)
        if ended:
            self._after()
        return ended

    async def _end(self, found: Any, name: Due) -> int:
        key = str(found["id"])
        try:
            async with self._app.transaction(found["org_id"]) as db:
                if name == "late":
                    # The job's row comes before the work's own, as in a worker.
                    await self._jobs.cancel(db, found["org_id"], self._kind, key)
                return await self._end_one(db, found, name, _ERRORS[name])
        except HubError as refused:
            structlog.get_logger().warning("not_ended", kind=self._kind, id=key, error=refused.code)
            return 0

    @abstractmethod
    async def _end_one(self, db: Statements, found: Any, name: Due, error: tuple[str, str]) -> int:
        """Hold the row, and end it as failed if it is still what it was found for; returns how many have ended with it."""
