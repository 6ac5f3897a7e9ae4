"""Turns: how many do the same for one owner at a time, where each may take long and has a connection meanwhile.

A search may take as long as its operation may, and the pool has few connections: without a bound, one organisation's searches would
keep all others waiting. Its own wait in the order in which they came, within their deadlines. So do lists of the log and the audit,
and those who pull from one subscription, whose row one of them holds.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from uuid import UUID

# Searches on a node, of each kind of resource: all kinds together leave a part of the pool (core/store/database.py) to others.
MOST_AT_ONCE = 4


class _Line:
    """One owner's: who has a turn, and who waits for one."""

    __slots__ = ("here", "turns")

    def __init__(self, at_once: int) -> None:
        self.here = 0
        self.turns = asyncio.Semaphore(at_once)


class Turns:
    """The lines, one for each owner of whom there is anybody at the moment; `at_once` have a turn."""

    def __init__(self, at_once: int = MOST_AT_ONCE) -> None:
        self._at_once = at_once
        self._lines: dict[UUID, _Line] = {}

    @asynccontextmanager
    async def taken(self, owner: UUID) -> AsyncGenerator[None]:
        """Wait for a turn of this owner, and have it until the end of the block."""
        line = self._lines.get(owner)
        if line is None:
            line = self._lines[owner] = _Line(self._at_once)
        line.here += 1
        try:
            async with line.turns:
                yield
        finally:
            line.here -= 1
            if not line.here:
                del self._lines[owner]
