"""A pool that counts, so that a test can tell one query from many."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from core.store.database import Database
from core.store.statements import Statements


class CountedDatabase(Database):
    """A real pool that counts look-ups, and holds them back while `gate` is closed."""

    def __init__(self, url: str) -> None:
        super().__init__(url, role="hub_app", size=3)
        self.lookups = 0
        self.gate = asyncio.Event()
        self.gate.set()

    @asynccontextmanager
    async def unbound(self) -> AsyncGenerator[Statements]:
        self.lookups += 1
        await self.gate.wait()
        async with super().unbound() as statements:
            yield statements
