"""Many that pull from one subscription, and what they leave to others."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
import pytest

from core.clock import SystemClock
from core.events.subscriptions import store
from core.operations.audit import AuditTrail
from core.operations.idempotency import IdempotencyKeys
from core.operations.operation import Registry
from core.operations.runner import Runner
from core.store.database import Database, connect_as
from handlers.subscriptions.consuming import Consuming
from tests.core.events.subscriptions.trial import Trial
from tests.harness.limiters import limiter_without_redis
from tests.harness.organisations import Organisation
from tests.harness.waiting import eventually

MANY = 12
_WAITS_FOR_ROW = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


class Bell:
    """News of a log, rung by the test; `following` is how many listen."""

    def __init__(self) -> None:
        self.following_now = 0
        self._rung = asyncio.Event()

    @asynccontextmanager
    async def following(self, org_id: UUID) -> AsyncGenerator["Bell"]:
        self.following_now += 1
        try:
            yield self
        finally:
            self.following_now -= 1

    def ring(self) -> None:
        self._rung.set()

    async def wait(self, seconds: float) -> None:
        await self._rung.wait()
        self._rung.clear()


@dataclass
class Pulling:
    """Those who pull, on a pool of three connections."""

    trial: Trial
    bell: Bell
    runner: Runner
    operations: Registry

    async def pull(self, id: UUID, **wanted: Any) -> list[dict[str, Any]]:
        caller, data = self.trial.organisation.caller(), {"id": str(id), **wanted}
        outcome = await self.runner.run(self.operations["subscriptions.pull"], caller, data, request_id="req_1")
        return orjson.loads(outcome.result.body)["deliveries"]


@pytest.fixture
async def pulling(database_url: str, organisation: Organisation) -> AsyncIterator[Pulling]:
    clock = SystemClock()
    database = Database(database_url, role="hub_app", size=3)
    trail = AuditTrail(database_url, clock)
    trial, bell = Trial.of(database_url, database, organisation), Bell()
    runner = Runner(database, trail, clock, lambda: None, limiter_without_redis(clock), IdempotencyKeys("of a test"))
    yield Pulling(trial, bell, runner, Registry.of(Consuming(trial.consumer, bell, clock, Counter()).operations()))
    await trail.close()
    await database.close()


async def test_those_who_wait_for_a_subscriptions_row_leave_connections_to_others(pulling: Pulling):
    """However many pull from it, one of them waits in PostgreSQL; then each gets its own event."""
    trial = pulling.trial
    subscription = await trial.subscribe(0)
    await trial.append(*[f"agents/{number}" for number in range(MANY)])
    async with AsyncExitStack() as stack:
        holder, observer = await connect_as(trial.url, "hub_owner"), await connect_as(trial.url, None)
        stack.push_async_callback(holder.close)
        stack.push_async_callback(observer.close)
        transaction = holder.transaction()
        await transaction.start()
        await holder.execute("SELECT FROM subscriptions WHERE id = $1 FOR UPDATE", subscription.id)
        pulls = [asyncio.create_task(pulling.pull(subscription.id, max=1)) for _ in range(MANY)]

        async def waits() -> bool:
            return await observer.fetchval(_WAITS_FOR_ROW) != 0

        await eventually(waits, what="a pull waits for the row")
        for _ in range(3):
            async with trial.database.read(trial.org_id) as db:
                assert await store.find(db, trial.org_id, subscription.id) is not None
        assert await observer.fetchval(_WAITS_FOR_ROW) == 1
        await transaction.rollback()
        positions = sorted(int(each["position"]) for pulled in await asyncio.gather(*pulls) for each in pulled)
    assert positions == list(range(1, MANY + 1))


async def test_of_those_who_wait_for_events_one_looks(pulling: Pulling):
    """And when it has some, the next one does, at once; who has left is passed over."""
    trial, bell = pulling.trial, pulling.bell
    subscription = await trial.subscribe(0)
    pulls = [asyncio.create_task(pulling.pull(subscription.id, max=1, wait_seconds=20)) for _ in range(MANY)]
    await eventually(lambda: bell.following_now == 1)
    pulls[1].cancel()
    await trial.append("agents/a", "agents/b")
    bell.ring()

    def got() -> list[str]:
        return sorted(pull.result()[0]["position"] for pull in pulls if pull.done() and not pull.cancelled())

    await eventually(lambda: got() == ["1", "2"])
    await eventually(lambda: bell.following_now == 1)
    for pull in pulls:
        pull.cancel()
    await asyncio.gather(*pulls, return_exceptions=True)
    assert bell.following_now == 0


async def test_who_stands_in_line_gives_up_in_time(pulling: Pulling):
    """Its own patience counts, not that of who looks."""
    trial, bell = pulling.trial, pulling.bell
    subscription = await trial.subscribe(0)
    first = asyncio.create_task(pulling.pull(subscription.id, wait_seconds=20))
    await eventually(lambda: bell.following_now == 1)
    assert await pulling.pull(subscription.id, wait_seconds=0.05) == []
    assert not first.done()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
