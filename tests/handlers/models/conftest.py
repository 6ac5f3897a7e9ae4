"""The fixtures of tests of models: a fake provider over HTTP, and the model that it has."""

from collections.abc import AsyncIterator

import pytest

from handlers.models.compatible import CompatibleModel
from tests.harness.clock import ManualClock
from tests.harness.fake_provider import FakeProvider, serving


@pytest.fixture
async def provider() -> AsyncIterator[FakeProvider]:
    async with serving(FakeProvider()) as served:
        yield served


@pytest.fixture
async def model(provider: FakeProvider, clock: ManualClock) -> AsyncIterator[CompatibleModel]:
    made = CompatibleModel(provider.url, "tiny", "sk-of-a-test", clock, stalled=5)
    yield made
    await made.close()
