"""Fixtures of the SDK's tests: a served node, keys, clients that are closed, and a writer with books."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from aimatrix.live import LiveClient
from tests.faults.conftest import seed, write_on
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation
from tests.hub.stream.node import Node, serve
from tests.sdks.python.following import OpenClient

__all__ = ["seed", "write_on"]


@pytest.fixture
async def node(database_url: str, redis_url: str, clock: ManualClock) -> AsyncIterator[Node]:
    """A node with everything real but the door's clock."""
    async with serve(database_url, redis_url, clock) as served:
        yield served


@pytest.fixture
async def key(organisation: Organisation) -> str:
    """A key with all scopes."""
    return await organisation.key()


@pytest.fixture
async def open_client() -> AsyncIterator[OpenClient]:
    """Open clients; they are closed at the end, and leave no task behind."""
    opened: list[LiveClient] = []
    before = asyncio.all_tasks()

    def open_one(url: str, key: str | None = None, /, **options: Any) -> LiveClient:
        made = LiveClient(url, api_key=key, **options)
        opened.append(made)
        return made.start()

    yield open_one
    for each in opened:
        await each.close()
    left = [task for task in asyncio.all_tasks() - before if task.get_name().startswith("aimatrix")]
    assert left == []
