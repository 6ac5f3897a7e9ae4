"""How many documents and chunks the hub has, and what waits, for the metrics: asked now and then, so no look costs anything."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

from core.clock import Clock
from core.errors import HubError
from core.store.database import Database

EVERY_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Documents:
    """Of all organisations, of one status: how many, and their bytes."""

    documents: int
    bytes: int


class KnowledgeFigures:
    """As of the last look, at most EVERY_SECONDS old while `run` runs. `system` is a pool of hub_system.

    `waiting_seconds` is for how long the document that waits longest has not been read.
    """

    def __init__(self, system: Database, clock: Clock) -> None:
        self._system = system
        self._clock = clock
        self.by_status: Mapping[str, Documents] = {}
        self.chunks = 0
        self.waiting_seconds = 0.0

    async def run(self) -> None:
        """Look, until cancelled; while PostgreSQL is away the figures stay."""
        while True:
            with contextlib.suppress(HubError):
                await self.look()
            await self._clock.sleep(EVERY_SECONDS)

    async def look(self) -> None:
        """Look now. Raises HubError while PostgreSQL is away."""
        async with self._system.unbound() as db:
            rows = await db.fetch("SELECT status, documents, bytes FROM document_figures()")
            other = await db.fetchrow("SELECT chunks, waiting_since FROM chunk_figures()")
        found = {row["status"]: Documents(row["documents"], row["bytes"]) for row in rows}
        # A status that has nothing left is 0, not missing.
        self.by_status = {status: Documents(0, 0) for status in self.by_status} | found
        self.chunks = other["chunks"]
        since = other["waiting_since"]
        self.waiting_seconds = max(0.0, (self._clock.now() - since).total_seconds()) if since else 0.0
