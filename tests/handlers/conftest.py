"""The fixture of the resources' tests."""

from collections.abc import AsyncIterator

import pytest

from core.operations.audit import AuditTrail
from core.operations.idempotency import IdempotencyKeys
from core.operations.runner import Runner
from core.store.database import Database
from tests.handlers.house import House
from tests.harness.clock import ManualClock
from tests.harness.limiters import limiter_without_redis
from tests.harness.organisations import Organisation


@pytest.fixture
async def house(database_url: str, organisation: Organisation) -> AsyncIterator[House]:
    clock = ManualClock()
    database = Database(database_url, role="hub_app", size=4)
    trail = AuditTrail(database_url, clock)
    yield House(
        database_url,
        Runner(database, trail, clock, lambda: None, limiter_without_redis(clock), IdempotencyKeys("of a test")),
        clock,
        organisation.caller(),
    )
    await trail.close()
    await database.close()
