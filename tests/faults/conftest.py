"""What fault tests share: a seed that is printed, a writer with books."""

import os
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from tests.harness.hub_process import HubProcess
from tests.harness.ledger import Ledger
from tests.harness.organisations import Organisation
from tests.harness.rest_client import RestClient, Writer

WriteOn = Callable[..., AbstractAsyncContextManager[Writer]]


@pytest.fixture
def seed() -> int:
    """The seed of this run: FAULT_SEED, or a new one. It is printed when the test fails."""
    chosen = int(os.environ.get("FAULT_SEED") or random.randrange(2**32))
    print(f"FAULT_SEED={chosen}")
    return chosen


@pytest.fixture
def write_on(seed: int) -> WriteOn:
    """Give writers that leave out nodes which do not run.

    Used as `async with write_on(organisation, key, nodes) as writer`.
    """

    @asynccontextmanager
    async def opened(
        organisation: Organisation, key: str, nodes: list[HubProcess], *, pause: float = 0.01
    ) -> AsyncGenerator[Writer]:
        ledger = Ledger(organisation.database_url, organisation.id, seed)
        rng = random.Random(seed)

        def urls() -> list[str]:
            return [node.base_url for node in nodes if node.running and node.base_url] or [nodes[0].base_url]

        async with RestClient("", key) as client, Writer(client, urls, ledger, rng, pause=pause) as writer:
            yield writer

    return opened
