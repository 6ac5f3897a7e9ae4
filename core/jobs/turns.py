"""Whose job is next: every organisation in turn, however many jobs another has."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from core.jobs.jobs import SQL
from core.jobs.kind import JobKind
from core.store.statements import Statements

# Ends of the ring: no owner is the first, and the hub itself is the last.
_FIRST, _LAST = UUID(int=0), UUID(int=2**128 - 1)


class Turns:
    """The ring of owners with jobs of one kind; it goes on where it was last."""

    def __init__(self, kind: JobKind) -> None:
        self._kind = kind
        self._last = _FIRST

    async def claim(self, db: Statements, worker: int, now: datetime, held: Iterable[UUID]) -> list[Any]:
        """Take due jobs for the worker, as many as it has places for; `held` are the owners of those that it has."""
        owners = Counter(held)
        free = self._kind.concurrency - owners.total()
        taken: list[Any] = []
        each = 1
        while free > 0:
            # First one of each owner, then what is left of the places shared among them.
            rows = await self._round(db, worker, now, owners, each, free)
            if not rows:
                break
            taken += rows
            free -= len(rows)
            owners.update(row["owner"] for row in rows)
            each = max(1, free // len({row["owner"] for row in rows}))
        return taken

    async def _round(
        self, db: Statements, worker: int, now: datetime, owners: Counter[UUID], each: int, most: int
    ) -> list[Any]:
        begun_after = self._last
        rows = await self._stretch(db, worker, now, owners, begun_after, _LAST, each, most)
        if len(rows) < most and begun_after != _FIRST:
            seen = owners + Counter(row["owner"] for row in rows)
            rows += await self._stretch(db, worker, now, seen, _FIRST, begun_after, each, most - len(rows))
        return rows

    async def _stretch(
        self,
        db: Statements,
        worker: int,
        now: datetime,
        owners: Counter[UUID],
        after: UUID,
        upto: UUID,
        each: int,
        most: int,
    ) -> list[Any]:
        kind = self._kind
        held = list(owners), list(owners.values())
        rows = await db.fetch(
            SQL["claim"],
            kind.name,
            after,
            upto,
            now,
            each,
            most,
            worker,
            kind.lease_seconds,
            *held,
            kind.share,
            kind.retry.attempts,
        )
        if rows:
            last = max(row["owner"] for row in rows)
            self._last = _FIRST if last == _LAST else last
        return rows
