"""Webhooks, wired for one node: their operations, and what pushes."""

from collections.abc import Callable
from uuid import UUID

from core.clock import Clock
from core.events.event import Entry, Publisher
from core.operations.operation import Operation
from core.outbound import Outbound, Resolver, SystemResolver
from core.outbound_pool import OutboundPool
from core.seal import Seal
from core.settings import Settings
from core.store.database import Database
from handlers.webhooks.log import Deliveries
from handlers.webhooks.operations import Webhooks
from handlers.webhooks.pusher import Pusher
from handlers.webhooks.sender import Sender

# What a push asks of PostgreSQL is short, and few of it is asked at once.
CONNECTIONS = 4


class WebhookParts:
    """The parts. `pusher` must run beside the node; `close` when that has ended. `resolver` replaces the machine's."""

    def __init__(
        self,
        settings: Settings,
        database_url: str,
        secret: str,
        clock: Clock,
        poke: Callable[[], None],
        resolver: Resolver | None = None,
    ) -> None:
        self._outbound = Outbound(settings.outbound_allow, clock, resolver or SystemResolver())
        self._pool = OutboundPool(self._outbound)
        self._database = Database(database_url, role="hub_system", size=CONNECTIONS)
        self._seal = Seal(secret)
        self._sender = Sender(self._pool, clock)
        self.pusher = Pusher(self._database, self._sender, self._seal, clock, poke)

    def operations(self) -> list[Operation]:
        """Return the operations."""
        kinds = (Webhooks(self._seal, self._outbound, self._sender), Deliveries())
        return [operation for kind in kinds for operation in kind.operations()]

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.close()
        await self._database.close()


class Waking:
    """A publisher that tells who waits for the log, after what was published was taken."""

    def __init__(self, publisher: Publisher, wake: Callable[[], None]) -> None:
        self._publisher = publisher
        self._wake = wake

    async def publish(self, org_id: UUID, epoch: str, entries: list[Entry]) -> None:
        """Publish, as Publisher says; who waits is told also where that failed, for the log has it."""
        try:
            await self._publisher.publish(org_id, epoch, entries)
        finally:
            self._wake()
