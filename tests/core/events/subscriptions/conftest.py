"""The fixture of the subscriptions' tests."""

from collections.abc import AsyncIterator

import pytest

from core.store.database import Database
from tests.core.events.subscriptions.trial import Trial
from tests.harness.organisations import Organisation


@pytest.fixture
async def trial(database_url: str, organisation: Organisation) -> AsyncIterator[Trial]:
    database = Database(database_url, role="hub_app", size=6)
    yield Trial.of(database_url, database, organisation)
    await database.close()
