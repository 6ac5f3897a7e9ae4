"""The fixture of retrieval's tests."""

from collections.abc import AsyncIterator

import pytest

from core.store.database import Database
from tests.handlers.knowledge.retrieval.library import Library
from tests.harness.organisations import Organisation


@pytest.fixture
async def library(database_url: str, organisation: Organisation) -> AsyncIterator[Library]:
    database = Database(database_url, role="hub_app", size=4)
    yield Library(database, organisation.id)
    await database.close()
