"""The fixture of synchronised twins."""

from collections.abc import AsyncIterator

import pytest

from tests.handlers.twins.sync.plant import Plant
from tests.handlers.twins.sync.plant import plant as opened
from tests.harness.organisations import Organisation


@pytest.fixture
async def plant(database_url: str, organisation: Organisation) -> AsyncIterator[Plant]:
    async with opened(database_url, organisation.caller()) as made:
        yield made
