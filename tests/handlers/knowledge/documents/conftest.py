"""The fixture of documents."""

from collections.abc import AsyncIterator

import pytest

from tests.handlers.knowledge.documents.shelf import Shelf
from tests.handlers.knowledge.documents.shelf import shelf as opened
from tests.harness.organisations import Organisation


@pytest.fixture
async def shelf(database_url: str, organisation: Organisation) -> AsyncIterator[Shelf]:
    async with opened(database_url, organisation.caller()) as made:
        yield made
