"""Ways through relationships: level by level, each twin once, so rings are no problem; at most so many relationships are read."""

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from core.store.statements import Statements
from handlers.twins.state.relating import SQL
from handlers.twins.state.views import Direction

MOST_READ = 20_000
MOST_PATHS = 10
MOST_TWINS = 1_000


@dataclass(frozen=True, slots=True)
class Way:
    """Which relationships are gone along: `among` are the twins that may be seen, None: all."""

    direction: Direction
    name: str | None
    depth: int
    among: Sequence[UUID] | None

    @property
    def args(self) -> tuple[object, ...]:
        """What the statements take of it."""
        return self.direction != "in", self.direction != "out", self.name, self.among


class Walk:
    """Goes from a twin on. `seen` are the twins that were met, with their depth; `is_whole` tells whether all was read."""

    def __init__(self, db: Statements, start: UUID, way: Way, most: int = MOST_READ) -> None:
        self.seen: dict[UUID, int] = {start: 0}
        self.is_whole = True
        self._db = db
        self._way = way
        self._left = most
        self._front = [start]

    async def levels(self) -> AsyncGenerator[list[Any]]:
        """Yield the relationships of each depth that lead to a twin of that depth, in a fixed order."""
        for depth in range(1, self._way.depth + 1):
            rows = await self._db.fetch(SQL["step"], self._front, *self._way.args, self._left + 1)
            if len(rows) > self._left:
                self.is_whole = False
                return
            self._left -= len(rows)
            leading = [row for row in rows if self.seen.setdefault(row["id"], depth) == depth]
            self._front = list({row["id"]: None for row in leading})
            if not leading:
                return
            yield leading


async def below(
    db: Statements, start: UUID, way: Way, most: int = MOST_TWINS
) -> tuple[dict[UUID, tuple[int, Any]], bool]:
    """Return the first `most` twins that are reached, with their depth and the first relationship that leads there; and whether
    that is all."""
    walk = Walk(db, start, way)
    found: dict[UUID, tuple[int, Any]] = {}
    async for level in walk.levels():
        for row in level:
            found.setdefault(row["id"], (walk.seen[row["id"]], row))
        if len(found) > most:
            return dict(list(found.items())[:most]), False
    return found, walk.is_whole


async def shortest(db: Statements, start: UUID, goal: UUID, way: Way) -> tuple[list[list[Any]] | None, bool]:
    """Return the shortest ways, each as its relationships, and whether all was read; None: there is no way."""
    if start == goal:
        return [[]], True
    walk = Walk(db, start, way)
    into: dict[UUID, list[Any]] = {}
    async for level in walk.levels():
        for row in level:
            into.setdefault(row["id"], []).append(row)
        if goal in walk.seen:
            return list(_ways(into, start, goal)), True
    return None, walk.is_whole


def _ways(into: Mapping[UUID, Sequence[Any]], start: UUID, goal: UUID) -> Iterator[list[Any]]:
    """Give at most MOST_PATHS ways, found backwards: every relationship that is there leads back to the start."""
    waiting: list[list[Any]] = [[row] for row in reversed(into[goal])]
    found = 0
    while waiting and found < MOST_PATHS:
        way = waiting.pop()
        if way[0]["origin"] == start:
            found += 1
            yield way
        else:
            waiting += [[row, *way] for row in reversed(into[way[0]["origin"]])]
