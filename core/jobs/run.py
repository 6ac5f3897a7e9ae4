"""One attempt at a job, as its handler sees it. Every write names the attempt, so one that was taken over can write nothing more.

A handler that is told of its end (its task is cancelled: the job was cancelled, was lost, took too long, or the worker drains)
lets that pass. What it did outside of PostgreSQL may happen again in another attempt; what it writes in `finishing()` happens once.
"""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from uuid import UUID

import orjson

from core.clock import Clock
from core.jobs.jobs import SQL
from core.store.database import Database
from core.store.statements import Statements

# Whom a connection speaks for that works on the hub's own jobs.
NOBODY = UUID(int=0)


class JobLost(Exception):
    """The job is no longer this attempt's: another has it, or it was cancelled. Nothing of the transaction is committed."""


class JobRun:
    """`payload` is what was enqueued; `attempt` counts from 1, and also attempts that were given back.

    Statements speak for the job's organisation as hub_app; for the hub's own jobs they are hub_system's.
    """

    def __init__(self, row: Any, lease_seconds: float, app: Database, system: Database, clock: Clock) -> None:
        self.id: UUID = row["id"]
        self.org_id: UUID | None = row["org_id"]
        self.kind: str = row["kind"]
        self.payload: Any = orjson.loads(row["payload"])
        self.attempt: int = row["attempt"]
        self.is_finished = False
        self._lease_seconds = lease_seconds
        self._app = app
        self._system = system
        self._clock = clock

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Statements]:
        """Open a transaction that is committed only if the job is still this attempt's. Raises JobLost.

        The row is held until the end, so nobody takes the job over meanwhile.
        """
        async with self._open() as db:
            await self._hold(db)
            yield db

    @asynccontextmanager
    async def finishing(self, result: Any = None) -> AsyncGenerator[Statements]:
        """Open the last transaction: what is written in it and the job's end are committed together. Raises JobLost.

        It sees what was written by all who hold the job (Jobs.enqueue, `holds`), and whoever comes later makes another; HubError
        RESOURCE_LOCKED where one of them takes too long. The handler returns afterwards; what it returns is not looked at.
        """
        async with self._open() as db:
            if not await db.fetchval(SQL["hold_alone"], self.id, self.attempt):
                raise JobLost
            yield db
            done = await db.fetchval(SQL["complete"], self.id, self.attempt, _text(result), self._clock.now())
            if not done:
                raise JobLost
        self.is_finished = True

    async def tell(self, progress: Any) -> None:
        """Say how far it is, as JSON. Raises JobLost."""
        async with self._system.unbound() as db:
            if not await db.fetchval(SQL["tell"], self.id, self.attempt, _text(progress)):
                raise JobLost

    def _open(self) -> AbstractAsyncContextManager[Statements]:
        if self.org_id is None:
            return self._system.transaction(NOBODY)
        return self._app.transaction(self.org_id)

    async def _hold(self, db: Statements) -> None:
        if not await db.fetchval(SQL["hold"], self.id, self.attempt, self._lease_seconds):
            raise JobLost


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()
