"""A relay for tests that read the log and have no Redis: what it publishes goes nowhere."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from uuid import UUID

from core.clock import SystemClock
from core.events.epoch import settle_epoch
from core.events.event import Entry
from core.events.relay import Relay
from core.store.database import connect_as
from tests.harness.waiting import eventually


class Nowhere:
    """A publisher at the relay's port that carries nothing."""

    async def publish(self, org_id: UUID, epoch: str, entries: list[Entry]) -> None:
        """Take entries."""


class Relaying:
    """A relay that runs; `settled` waits until all that is committed stands in the log."""

    def __init__(self, url: str, relay: Relay) -> None:
        self._url = url
        self._relay = relay

    async def settled(self) -> None:
        """Return when the outbox is empty: a move leaves it and stands in the log in one statement."""
        connection = await connect_as(self._url, "hub_owner")

        async def is_empty() -> bool:
            self._relay.poke()
            return not await connection.fetchval("SELECT count(*) FROM outbox")

        try:
            await eventually(is_empty)
        finally:
            await connection.close()


@asynccontextmanager
async def relaying(url: str) -> AsyncGenerator[Relaying]:
    """Run a relay over the database at `url`."""

    async def no_tops(_epoch: str) -> dict[UUID, int]:
        return {}

    await settle_epoch(url, no_tops)
    relay = Relay(url, Nowhere(), SystemClock())
    task = asyncio.create_task(relay.run())
    try:
        yield Relaying(url, relay)
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait({task})
