"""Making jobs, in the transaction of what they belong to: a job exists if and only if that was committed."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

from core.clock import Clock
from core.ids import new_id
from core.store.queries import load_queries
from core.store.statements import Statements

SQL = load_queries(Path(__file__).with_name("jobs.sql"))
# An insert that met a pending job of its key which then ended is tried again; more often than this it is no coincidence.
KEY_TRIES = 5


@dataclass(frozen=True, slots=True)
class Enqueued:
    """A job that is pending; `is_new` is False where one of the same key was so already."""

    id: UUID
    is_new: bool


class Jobs:
    """Makes jobs. `poke` wakes the workers, once the transaction is committed; without it they look within a second."""

    def __init__(self, clock: Clock, poke: Callable[[], None]) -> None:
        self._clock = clock
        self.poke = poke

    async def enqueue(
        self,
        db: Statements,
        org_id: UUID | None,
        kind: str,
        payload: Any,
        *,
        key: str | None = None,
        priority: int = 0,
        run_at: datetime | None = None,
        max_attempts: int | None = None,
        holds: bool = False,
    ) -> Enqueued:
        """Make a job in the transaction of `db`; afterwards `ctx.after_commit(jobs.poke)`.

        `org_id` None is the hub's own, which only hub_system may make. While a job of this kind and `key` is queued or running, it
        is returned instead; with `holds` it does not end before this transaction, so that its last one sees what this one writes.
        `priority` (higher first) counts among the jobs of one kind and organisation only.
        """
        now = self._clock.now()
        text = orjson.dumps(payload).decode()
        look = SQL["hold_pending"] if holds else SQL["pending"]
        for _ in range(KEY_TRIES):
            # Asked first: an insert would wait for whoever is writing something into the job, its own steps too.
            pending = await db.fetchval(look, org_id, kind, key) if holds else None
            if pending is not None:
                return Enqueued(pending, is_new=False)
            id = new_id()
            made = await db.fetchval(
                SQL["insert"], id, org_id, kind, key, text, priority, run_at or now, max_attempts, now
            )
            if made is not None:
                return Enqueued(id, is_new=True)
            pending = await db.fetchval(look, org_id, kind, key)
            if pending is not None:
                return Enqueued(pending, is_new=False)
        raise RuntimeError(f"jobs of {kind} with one key come and go too quickly")

    async def cancel(self, db: Statements, org_id: UUID | None, kind: str, key: str) -> None:
        """End the job of this kind and `key` that is queued or running, if there is one; afterwards poke as for a new one."""
        await db.execute(SQL["cancel"], org_id, kind, key, self._clock.now())
