"""Fixtures of the tests of executions."""

from collections.abc import AsyncIterator

import pytest

from core.clock import SystemClock
from core.store.redis import connect_redis
from handlers.models.compatible import CompatibleModel
from tests.handlers.agents.executions.bureau import Bureau, opened
from tests.harness.fake_provider import FakeProvider, serving
from tests.harness.organisations import Organisation


@pytest.fixture
async def bureau(database_url: str, redis_url: str, organisation: Organisation) -> AsyncIterator[Bureau]:
    """One, with its provider."""
    redis = connect_redis(redis_url)
    async with serving(FakeProvider()) as provider:
        model = CompatibleModel(provider.url, "tiny", None, SystemClock())
        async with opened(database_url, redis, redis_url, organisation, provider, model) as made:
            yield made
        await model.close()
    await redis.aclose()
