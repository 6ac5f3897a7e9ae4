"""A data folder a test, with nothing left behind."""

from collections.abc import AsyncIterator

import pytest

from tests.core.store.engines.trial import Trial


@pytest.fixture
async def trial() -> AsyncIterator[Trial]:
    """A data folder that does not exist yet."""
    made = Trial()
    yield made
    await made.close()
