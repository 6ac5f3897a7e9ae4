"""Reads outside of a transaction. What is looked up by its id in one turn of the loop is one statement.

Under load most requests come together with others of their organisation, and the round trip costs more than all else in them. Who
comes first leads: it lets the turn end, asks for all who have joined, and hands out the rows. Where it fails or is cancelled, the
others ask for themselves: nobody's error is another's.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from core.store.database import Database
from core.watch import WATCHED

# A document may have a megabyte: so many are held at once.
MOST_TOGETHER = 32
# Told to who has to ask alone.
_ALONE = object()

# Whose rows, and the statement.
_Question = tuple[UUID, str]


class _Gathering:
    """The ids that are asked for together, and who waits for each."""

    __slots__ = ("ids", "waiting")

    def __init__(self, id: UUID) -> None:
        self.ids = [id]
        self.waiting: list[tuple[UUID, asyncio.Future[Any]]] = []

    def join(self, id: UUID, waiter: asyncio.Future[Any]) -> None:
        self.waiting.append((id, waiter))
        self.ids.append(id)

    def answer(self, rows: Mapping[UUID, Any]) -> None:
        for id, waiter in self.waiting:
            if not waiter.done():
                waiter.set_result(rows.get(id))

    def give_up(self) -> None:
        for _, waiter in self.waiting:
            if not waiter.done():
                waiter.set_result(_ALONE)


class LookUps:
    """Rows by their ids, for one loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._gatherings: dict[_Question, _Gathering] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    async def row(self, org_id: UUID, query: str, id: UUID) -> Any:
        """Return the row of `id`, None where there is none; see Context.look_up for `query`."""
        question = (org_id, query)
        gathering = self._gatherings.get(question)
        if gathering is None or len(gathering.ids) >= MOST_TOGETHER:
            return await self._lead(question, id)
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        waiter = self._loop.create_future()
        gathering.join(id, waiter)
        row = await waiter
        return (await self._ask(question, (id,))).get(id) if row is _ALONE else row

    async def _lead(self, question: _Question, id: UUID) -> Any:
        gathering = self._gatherings[question] = _Gathering(id)
        try:
            try:
                await asyncio.sleep(0)
            finally:
                if self._gatherings.get(question) is gathering:
                    del self._gatherings[question]
            rows = await self._ask(question, gathering.ids)
        except BaseException:
            gathering.give_up()
            raise
        gathering.answer(rows)
        return rows.get(id)

    async def _ask(self, question: _Question, ids: Sequence[UUID]) -> Mapping[UUID, Any]:
        org_id, query = question
        async with self._database.read(org_id) as db:
            return {row[0]: row for row in await db.fetch(query, ids)}


class Reads:
    """Statements by themselves for one organisation, each on whichever connection is free."""

    __slots__ = ("_database", "_look_ups", "_org_id")

    def __init__(self, database: Database, look_ups: LookUps, org_id: UUID) -> None:
        self._database = database
        self._look_ups = look_ups
        self._org_id = org_id

    async def look_up(self, query: str, id: UUID) -> Any:
        """Return a row by its id, asked for together with others."""
        watch = WATCHED.get()
        if watch is None:
            return await self._look_ups.row(self._org_id, query, id)
        with watch.part("sql"):
            return await self._look_ups.row(self._org_id, query, id)

    async def fetch(self, query: str, *args: object) -> list[Any]:
        """Return all rows."""
        async with self._database.read(self._org_id) as db:
            return await db.fetch(query, *args)

    async def fetchrow(self, query: str, *args: object) -> Any:
        """Return the first row or None."""
        async with self._database.read(self._org_id) as db:
            return await db.fetchrow(query, *args)

    async def fetchval(self, query: str, *args: object) -> Any:
        """Return the first column of the first row or None."""
        async with self._database.read(self._org_id) as db:
            return await db.fetchval(query, *args)

    async def execute(self, query: str, *args: object) -> str:
        """Return the command tag."""
        async with self._database.read(self._org_id) as db:
            return await db.execute(query, *args)
