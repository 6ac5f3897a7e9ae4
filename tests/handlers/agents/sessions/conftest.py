"""The fixture of sessions."""

from collections.abc import AsyncIterator

import pytest

from tests.handlers.agents.sessions.talk import Talk
from tests.handlers.agents.sessions.talk import talk as opened
from tests.harness.organisations import Organisation


@pytest.fixture
async def talk(database_url: str, organisation: Organisation) -> AsyncIterator[Talk]:
    async with opened(database_url, organisation.caller()) as made:
        yield made
