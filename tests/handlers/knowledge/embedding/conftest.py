"""Fixtures of the tests of vectors: a fake endpoint, its embedder, a house with chunks."""

from collections.abc import AsyncIterator

import pytest

from core.store.database import Database
from handlers.knowledge.embedding.endpoint import EndpointEmbedder
from tests.core.jobs.house import House
from tests.handlers.knowledge.embedding.chunks import Chunks
from tests.handlers.knowledge.embedding.endpoint import FakeEndpoint, serving
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation


@pytest.fixture
async def endpoint() -> AsyncIterator[FakeEndpoint]:
    async with serving(FakeEndpoint()) as made:
        yield made


@pytest.fixture
async def embedder(endpoint: FakeEndpoint, clock: ManualClock) -> AsyncIterator[EndpointEmbedder]:
    made = EndpointEmbedder(endpoint.url, "sk-of-a-test", "tiny", clock)
    yield made
    await made.close()


@pytest.fixture
async def house(database_url: str, clock: ManualClock) -> AsyncIterator[House]:
    database = Database(database_url, role="hub_app", size=8)
    system = Database(database_url, role="hub_system", size=4)
    yield House(database_url, database, system, clock)
    await system.close()
    await database.close()


@pytest.fixture
async def chunks(house: House, organisation: Organisation) -> Chunks:
    """A base of the organisation's, without a document yet."""
    return await Chunks.of_new_base(house, organisation.id)
