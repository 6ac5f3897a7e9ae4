"""A consumer inside the hub: what webhooks are pushed with, and what waits for who pulls."""

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

from core.clock import Clock
from core.events.subscriptions import dead_letters, deliveries, store
from core.events.subscriptions.subscription import Answer, Buried, Delivery, DeliveryWay, Hold, Outlook
from core.store.database import Database
from core.store.statements import Statements


class Consumer:
    """Leases and answers, each in a transaction of its own; announces dead letters, and calls `poke` when it did.

    `database` is that of `hub_app`, or of `hub_system` for all organisations. Every method raises HubError SERVICE_UNAVAILABLE
    while PostgreSQL is away; what was not answered then is handed out again when its lease ends.
    """

    def __init__(self, database: Database, clock: Clock, poke: Callable[[], None]) -> None:
        self._database = database
        self._clock = clock
        self._poke = poke

    async def ready(self) -> list[tuple[UUID, UUID]]:
        """Return organisation and id of the push subscriptions that may have something to lease; needs `hub_system`."""
        async with self._database.unbound() as db:
            return await deliveries.ready(db)

    async def way(self, org_id: UUID, id: UUID) -> DeliveryWay | None:
        """Return how a subscription is delivered, None where there is none."""
        async with self._database.read(org_id) as db:
            subscription = await store.find(db, org_id, id)
        return None if subscription is None else subscription.delivery

    async def next_due(self, org_id: UUID, id: UUID) -> float | None:
        """Return in how many seconds there may be something to lease; None while only a new event can bring it."""
        async with self._database.read(org_id) as db:
            return await deliveries.next_due(db, org_id, id)

    async def outlook(self, org_id: UUID, id: UUID) -> Outlook | None:
        """Return how a subscription stands, and when there may be something to lease; None where there is none."""
        async with self._database.read(org_id) as db:
            return await deliveries.outlook(db, org_id, id)

    async def lease(self, org_id: UUID, id: UUID, most: int) -> list[Delivery]:
        """Take up to `most` deliveries that are due, oldest first, for the subscription's `ack_seconds`."""
        async with self._database.transaction(org_id) as db:
            leased, buried = await deliveries.lease(db, org_id, id, most)
            await self._announce(db, org_id, id, buried)
        self._poked(buried)
        return leased

    async def ack(self, org_id: UUID, id: UUID, holds: Sequence[Hold], answer: Answer | None = None) -> set[Hold]:
        """End deliveries; returns those whose lease still held. With an `answer` the attempt is kept."""
        async with self._database.read(org_id) as db:
            return await deliveries.ack(db, org_id, id, holds, answer)

    async def refuse(
        self,
        org_id: UUID,
        id: UUID,
        holds: Sequence[Hold],
        answer: Answer,
        *,
        delay_seconds: float | None = None,
        for_good: bool = False,
    ) -> set[Hold]:
        """Have deliveries come again later, or, `for_good`, not at all; returns those whose lease still held."""
        async with self._database.transaction(org_id) as db:
            refused, buried = await deliveries.refuse(
                db, org_id, id, holds, answer=answer, delay_seconds=delay_seconds, for_good=for_good
            )
            await self._announce(db, org_id, id, buried)
        self._poked(buried)
        return refused

    async def extend(self, org_id: UUID, id: UUID, holds: Sequence[Hold], seconds: float) -> dict[Hold, datetime]:
        """Let leases end `seconds` from now; returns the new end of those that still held."""
        async with self._database.read(org_id) as db:
            return await deliveries.extend(db, org_id, id, holds, seconds)

    async def bury_exhausted(self) -> int:
        """Make dead letters of all whose last attempt nobody answered, leased or not; returns how many. Needs `hub_system`."""
        async with self._database.unbound() as db:
            found = await deliveries.exhausted(db)
        count = 0
        for org_id, id in found:
            while buried := await self._bury(org_id, id):
                count += buried
        return count

    async def _bury(self, org_id: UUID, id: UUID) -> int:
        async with self._database.transaction(org_id) as db:
            buried = await deliveries.bury_exhausted(db, org_id, id)
            await self._announce(db, org_id, id, buried)
        self._poked(buried)
        return len(buried)

    async def give_back(self, org_id: UUID, id: UUID, holds: Sequence[Hold]) -> None:
        """Undo the lease of what no consumer has seen; others may lease it at once."""
        async with self._database.read(org_id) as db:
            await deliveries.give_back(db, org_id, id, holds)

    async def _announce(self, db: Statements, org_id: UUID, id: UUID, buried: Sequence[Buried]) -> None:
        await dead_letters.announce(db, org_id, dead_letters.announcements(id, buried), self._clock.now())

    def _poked(self, buried: Sequence[Buried]) -> None:
        if buried:
            self._poke()
