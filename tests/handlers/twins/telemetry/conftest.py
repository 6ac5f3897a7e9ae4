"""The fixture of the tests of telemetry."""

from collections.abc import AsyncIterator

import pytest

from tests.handlers.twins.telemetry.station import Station, opened
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation


@pytest.fixture
async def station(database_url: str, organisation: Organisation, clock: ManualClock) -> AsyncIterator[Station]:
    async with opened(database_url, organisation.caller(), clock) as made:
        yield made
