"""What the tests of jobs stand on: jobs enqueued as operations do, workers that run, and the rows as they are."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from core.clock import Clock
from core.deadline import end_tasks
from core.jobs.jobs import Enqueued, Jobs
from core.jobs.kind import JobKind
from core.jobs.run import JobRun
from core.jobs.schedules import Schedule
from core.jobs.workers import Workers
from core.store.database import Database, connect_as
from tests.harness.waiting import eventually


@dataclass
class House:
    """One database with its jobs; every pair of workers is poked."""

    url: str
    database: Database
    system: Database
    clock: Clock
    workers: list[Workers] = field(default_factory=list[Workers])

    @property
    def jobs(self) -> Jobs:
        return Jobs(self.clock, self.poke)

    def poke(self) -> None:
        for each in self.workers:
            each.poke()

    async def enqueue(self, org_id: UUID, kind: str, payload: Any = None, **options: Any) -> Enqueued:
        async with self.database.transaction(org_id) as db:
            made = await self.jobs.enqueue(db, org_id, kind, payload, **options)
        self.poke()
        return made

    async def rows(self, query: str, *args: object) -> list[Any]:
        connection = await connect_as(self.url, "hub_owner")
        try:
            return await connection.fetch(query, *args)
        finally:
            await connection.close()

    async def job(self, id: UUID) -> Any:
        (row,) = await self.rows("SELECT * FROM jobs WHERE id = $1", id)
        return row

    async def status(self, id: UUID) -> str:
        return (await self.job(id))["status"]

    async def becomes(self, id: UUID, status: str) -> Any:
        """Wait until a job has a status, and return its row."""

        async def there() -> Any:
            self.poke()
            row = await self.job(id)
            return row if row["status"] == status else None

        return await eventually(there, what=f"a job is {status}")

    async def eventually(self, condition: Callable[[], bool | Awaitable[bool]]) -> None:
        """Wait for a condition, with the workers poked: one that was at work while a test set the clock looks again."""

        async def seen() -> bool:
            self.poke()
            met = condition()
            return met if isinstance(met, bool) else await met

        await eventually(seen)

    async def let_lease_end(self, id: UUID) -> None:
        """Make a lease older, in place of waiting; PostgreSQL's clock cannot be set."""
        await self.rows("UPDATE jobs SET lease_until = clock_timestamp() - interval '1 s' WHERE id = $1", id)

    @asynccontextmanager
    async def working(self, *kinds: JobKind, schedules: Sequence[Schedule] = ()) -> AsyncGenerator[Workers]:
        workers = Workers(self.url, self.database, self.system, kinds, self.clock, schedules=schedules)
        task = asyncio.create_task(workers.run())
        self.workers.append(workers)
        try:
            yield workers
            assert not task.done(), task
        finally:
            self.workers.remove(workers)
            await end_tasks([task])


@dataclass
class Steps:
    """A handler that the test holds: it notes its runs, waits at `gate` where there is one, then does `does`."""

    gate: asyncio.Event | None = None
    does: Callable[[JobRun], Awaitable[Any]] | None = None
    runs: list[JobRun] = field(default_factory=list[JobRun])
    ended: int = 0

    async def __call__(self, run: JobRun) -> Any:
        self.runs.append(run)
        try:
            if self.gate is not None:
                await self.gate.wait()
            return await self.does(run) if self.does else {"of": run.payload}
        finally:
            self.ended += 1

    def has_run(self, times: int) -> Callable[[], bool]:
        return lambda: len(self.runs) >= times


def error_of(row: Any) -> dict[str, str]:
    return orjson.loads(row["error"])


def seconds_until(moment: datetime, now: datetime) -> float:
    return (moment - now) / timedelta(seconds=1)
