"""Fewer round trips for a write: statements whose answer nobody needs wait, and go together.

A transaction begins with the first statement that is asked something. What only writes is joined with the write that ends it, as
parts of one statement (WITH), which by itself is a transaction; many of one text are sent one behind the other.

    create      1 round trip, where nothing was asked before      (BEGIN, insert, events and audit, COMMIT: 4)
    many        BEGIN, all of them, COMMIT
"""

import re
from functools import lru_cache
from typing import Any

import asyncpg

_PLACE = re.compile(r"\$([0-9]+)")
_WITH = re.compile(r"\A(?:\s*--[^\n]*\n)*\s*WITH\s", re.ASCII)
# Where the list of a WITH ends, as this repository writes it.
_END = "\n)\n"


class Joined:
    """The statements of one transaction on one connection; `opening` is sent before its first.

    None of several waits for a lock for over `patience` seconds. Errors of what waits come with the statement that it goes with.
    """

    __slots__ = ("_begin", "_connection", "_opening", "_waiting", "has_begun", "may_be_committed")

    def __init__(self, connection: asyncpg.Connection, opening: str, patience: float | None = None) -> None:
        self._connection = connection
        self._begin = "BEGIN" if patience is None else f"BEGIN; SET LOCAL lock_timeout = {round(patience * 1000)}"
        self._opening = opening
        # Text, arguments, and whether another may be joined.
        self._waiting: list[tuple[str, tuple[object, ...], bool]] = []
        self.has_begun = False
        # From the moment that the commit is sent: what goes wrong then leaves it open whether it has happened.
        self.may_be_committed = False

    def later(self, query: str, *args: object) -> None:
        """Run a statement before whatever is asked next, at the latest with the commit."""
        self._waiting.append((query, args, True))

    def finish(self, query: str, *args: object) -> None:
        """Run what ends a piece of work, together with the piece's last `later` where nothing was asked since."""
        if self._waiting and self._waiting[-1][2]:
            before, its, _ = self._waiting.pop()
            query, args = joined(before, query, len(args)), (*args, *its)
        self._waiting.append((query, args, False))

    async def fetch(self, query: str, *args: object) -> list[Any]:
        """Return all rows."""
        return await (await self._begun()).fetch(query, *args)

    async def fetchrow(self, query: str, *args: object) -> Any:
        """Return the first row or None."""
        return await (await self._begun()).fetchrow(query, *args)

    async def fetchval(self, query: str, *args: object) -> Any:
        """Return the first column of the first row or None."""
        return await (await self._begun()).fetchval(query, *args)

    async def execute(self, query: str, *args: object) -> str:
        """Return the command tag."""
        return await (await self._begun()).execute(query, *args)

    async def end(self) -> None:
        """Run what waits, and commit."""
        if not self.has_begun and not self._waiting:
            return
        if not self.has_begun and len(self._waiting) == 1:
            ((query, args, _),) = self._waiting
            if self._opening:
                await self._connection.execute(self._opening)
            self.may_be_committed = True
            await self._connection.execute(query, *args)  # by itself it is a transaction
            return
        connection = await self._begun()
        self.may_be_committed = True
        await connection.execute("COMMIT")

    async def _begun(self) -> asyncpg.Connection:
        """Return the connection, in the transaction and with nothing waiting."""
        if not self.has_begun:
            self.has_begun = True
            await self._connection.execute(f"{self._opening}; {self._begin}" if self._opening else self._begin)
        waiting, self._waiting = self._waiting, []
        while waiting:
            query = waiting[0][0]
            same = [args for text, args, _ in waiting if text == query]
            if len(same) == 1 or any(text != query for text, _, _ in waiting[: len(same)]):
                # In the order in which they were written: only neighbours go together.
                await self._connection.execute(query, *waiting.pop(0)[1])
            else:
                await self._connection.executemany(query, same)
                del waiting[: len(same)]
        return self._connection


@lru_cache(maxsize=256)
def joined(first: str, last: str, places: int, name: str = "before_it") -> str:
    """Return one statement that does `first` and `last`; the arguments of `last`, of which there are `places`, come first.

    `last` begins with WITH. Neither sees what the other does. `name` is what the body of `first` is called, once in a statement.
    """
    first = _PLACE.sub(lambda place: f"${int(place[1]) + places}", first)
    parts, end, body = first.rpartition(_END)
    if _WITH.match(parts):
        parts = _WITH.sub("", parts, count=1) + "\n), "
    elif end:
        raise ValueError("a statement to be joined has its WITH at its beginning")
    if not _WITH.match(last):
        raise ValueError("what others are joined with begins with WITH")
    return f"WITH {parts}{name} AS (\n{body}\n), {_WITH.sub('', last, count=1)}"
