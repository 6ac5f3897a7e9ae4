"""Fixtures of the jobs: a house."""

from collections.abc import AsyncIterator

import pytest

from core.store.database import Database
from tests.core.jobs.house import House
from tests.harness.clock import ManualClock


@pytest.fixture
async def house(database_url: str, clock: ManualClock) -> AsyncIterator[House]:
    database = Database(database_url, role="hub_app", size=8)
    system = Database(database_url, role="hub_system", size=4)
    yield House(database_url, database, system, clock)
    await system.close()
    await database.close()
