"""Turns: how many searches of one organisation PostgreSQL has at a time.

A search may take as long as its operation may, and the pool has few connections: without a bound, one organisation's searches would
keep all others waiting. Its own wait in the order in which they came, within their deadlines.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from uuid import UUID

# On a node, of each kind of resource: those of all kinds together leave a part of the pool (core/store/database.py) to others.
MOST_AT_ONCE = 4


class _Line:
    """One organisation's: who has a turn, and who waits for one."""

    __slots__ = ("here", "turns")

    def __init__(self) -> None:
        self.here = 0
        self.turns = asyncio.Semaphore(MOST_AT_ONCE)


class Turns:
    """The lines, one for each organisation that searches at the moment."""

    def __init__(self) -> None:
        self._lines: dict[UUID, _Line] = {}

    @asynccontextmanager
    async def taken(self, org_id: UUID) -> AsyncGenerator[None]:
        """Wait for a turn of this organisation, and have it until the end of the block."""
        line = self._lines.setdefault(org_id, _Line())
        line.here += 1
        try:
            async with line.turns:
                yield
        finally:
            line.here -= 1
            if not line.here:
                del self._lines[org_id]
