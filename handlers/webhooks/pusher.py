"""The worker of one node that pushes events to webhooks: looks what is due, takes turns, sends, hands the answers on.

Any number of nodes push for one hub: a lease is one node's, and ends by itself where the node has died. Nothing is remembered that
a restart would lose, but what endpoints are like.
"""

import asyncio
from collections import Counter
from collections.abc import Callable

import structlog

from core.clock import Clock
from core.deadline import ended_within
from core.errors import HubError
from core.events.subscriptions import deliveries
from core.events.subscriptions import store as subscriptions
from core.events.subscriptions.dead_letters import announce, announcements
from core.events.subscriptions.subscription import Delivery
from core.seal import Seal
from core.store.database import Database, StatementError
from core.store.statements import Statements
from handlers.webhooks.answered import Answered, Answers
from handlers.webhooks.operations import opened
from handlers.webhooks.policy import FAILING_SECONDS, Sent
from handlers.webhooks.sender import Receiver, Sender, message_of
from handlers.webhooks.store import SQL
from handlers.webhooks.turns import Endpoint, Turn, Turns

# Without news: what becomes due by time, and what other nodes' relays have moved.
POLL_SECONDS = 1.0
# News that come closer together are looked at together.
BETWEEN_SECONDS = 0.02
# A webhook of which PostgreSQL cannot make sense waits so long; the others go on.
BROKEN_SECONDS = 60.0


class Pusher:
    """Pushes until cancelled. `wake()` says that the log has more; `database` is hub_system's, of a few connections."""

    def __init__(self, database: Database, sender: Sender, seal: Seal, clock: Clock, poke: Callable[[], None]) -> None:
        self._database = database
        self._sender = sender
        self._seal = seal
        self._clock = clock
        self._poke = poke
        self._answers = Answers(database, clock, poke)
        self._turns = Turns()
        self._wake = asyncio.Event()
        self._tasks = asyncio.TaskGroup()
        self._stopping = False
        self._failing = False
        # Since the start of this node, by how attempts ended.
        self.attempts: Counter[str] = Counter()
        self._log = structlog.get_logger()

    @property
    def in_flight(self) -> int:
        """How many messages are under way."""
        return self._turns.in_flight

    @property
    def open_circuits(self) -> int:
        """How many endpoints are sent nothing, or a probe, since they do not answer."""
        return self._turns.open_circuits(self._clock.monotonic())

    def wake(self) -> None:
        """Say that the log has more. Costs next to nothing."""
        self._wake.set()

    async def run(self) -> None:
        """Push until cancelled; what is under way then comes again when its lease ends."""
        async with self._tasks:
            self._tasks.create_task(self._answers.run())
            while True:
                self._wake.clear()
                await self._look()
                self._turns.forget(self._clock.monotonic())
                await self._clock.sleep(BETWEEN_SECONDS)
                waking = asyncio.ensure_future(self._wake.wait())
                try:
                    await ended_within(self._clock, POLL_SECONDS - BETWEEN_SECONDS, waking)
                finally:
                    waking.cancel()

    async def drain(self, within: float) -> None:
        """Begin nothing more, and wait for what is under way, and until that is noted, for at most `within` seconds."""
        self._stopping = True
        until = self._clock.monotonic() + within
        while (self.in_flight or self._answers.waiting) and self._clock.monotonic() < until:
            await self._clock.sleep(0.05)

    async def _look(self) -> None:
        if self._stopping:
            return
        try:
            async with self._database.unbound() as db:
                ready = await deliveries.ready(db)
        except HubError as error:
            self._tell(error)
            return
        self._failing = False
        for org_id, id in ready:
            self._turns.queue(self._turns.endpoint(org_id, id))
        self._give_turns()

    def _give_turns(self) -> None:
        if self._stopping:
            return
        for turn in self._turns.next(self._clock.monotonic()):
            self._tasks.create_task(self._take(turn))

    async def _take(self, turn: Turn) -> None:
        """Lease for a turn, and have what was leased sent."""
        receiver, leased = None, list[Delivery]()
        try:
            async with self._database.transaction(turn.endpoint.org_id) as db:
                receiver, leased = await self._lease(db, turn)
        except HubError as error:
            # A commit of which the answer was lost may have leased: that comes again when the lease ends.
            receiver, leased = None, []
            self._tell(error)
        except StatementError as error:
            receiver, leased = None, []
            self._set_aside(turn.endpoint, error)
        if receiver is not None:
            for delivery in leased:
                self._tasks.create_task(self._deliver(turn, receiver, delivery))
        self._turns.give_back(turn, turn.most - len(leased), has_more=len(leased) == turn.most)
        self._give_turns()

    async def _lease(self, db: Statements, turn: Turn) -> tuple[Receiver | None, list[Delivery]]:
        endpoint = turn.endpoint
        org_id, id, now = endpoint.org_id, endpoint.id, self._clock.now()
        row = await db.fetchrow(SQL["target"], org_id, id, FAILING_SECONDS)
        if row is not None and row["max_per_second"] is not None:
            # Its row is held, so that one node at a time counts.
            await subscriptions.hold(db, org_id, id)
            row = await db.fetchrow(SQL["target"], org_id, id, FAILING_SECONDS)
        if row is None:
            return None, []
        most = turn.most if row["allowed"] is None else min(turn.most, row["allowed"])
        endpoint.is_failing, endpoint.has_failed_long = row["is_failing"], bool(row["has_failed_long"])
        if most < turn.most:
            endpoint.not_before = self._clock.monotonic() + min(1 / row["max_per_second"], POLL_SECONDS)
        if most < 1:
            return None, []
        leased, buried = await deliveries.lease(db, org_id, id, most)
        if leased and row["max_per_second"] is not None:
            await db.execute(SQL["pace"], org_id, id, len(leased))
        told = announcements(id, buried)
        await announce(db, org_id, told, now)
        if told:
            self._poke()
        return opened(row, self._seal, org_id, id), leased

    async def _deliver(self, turn: Turn, receiver: Receiver, delivery: Delivery) -> None:
        message = message_of(
            delivery.event_id,
            delivery.type,
            delivery.time,
            delivery.position,
            delivery.envelope,
            replayed=delivery.replayed,
        )
        sent = await self._sender.send(receiver, message)
        self._note(turn.endpoint, sent)
        self._answers.take(Answered(turn.endpoint, delivery.hold, sent))
        self._turns.ended(turn, self._clock.monotonic())
        self._give_turns()

    def _note(self, endpoint: Endpoint, sent: Sent) -> None:
        self.attempts[sent.verdict] += 1
        now = self._clock.monotonic()
        endpoint.is_proven = sent.verdict == "delivered"
        if endpoint.is_proven:
            endpoint.circuit.succeeded()
        else:
            endpoint.circuit.failed(now)
        if sent.pause is not None:
            endpoint.circuit.pause(now, sent.pause)

    def _set_aside(self, endpoint: Endpoint, error: StatementError) -> None:
        endpoint.not_before = self._clock.monotonic() + BROKEN_SECONDS
        whose = {"org_id": str(endpoint.org_id), "webhook_id": str(endpoint.id)}
        self._log.error("webhook_set_aside", seconds=BROKEN_SECONDS, **whose, exc_info=error)

    def _tell(self, error: HubError) -> None:
        # Once an outage: each look tries again.
        if not self._failing:
            self._log.warning("webhooks_wait", reason=error.text)
        self._failing = True
