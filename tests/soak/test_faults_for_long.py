"""Random schedules of faults for SOAK_SECONDS (600 where nothing is set), against processes; then the ledger is printed.

Three nodes, each behind a proxy to Redis, PostgreSQL and Redis of their own. What differs from the schedules of `make test`: real
processes that are killed, stopped and woken, PostgreSQL that is killed, real times, and longer lives.
"""

import os
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import islice

import pytest

from core.store.engines import EngineUrls
from tests.harness.comers import dealt, what_is_not_there
from tests.harness.crowd import Crowd, schedules
from tests.harness.engines import PrivateEngines
from tests.harness.hub_process import HubProcesses
from tests.harness.organisations import Organisations
from tests.harness.proxy import FaultProxies
from tests.harness.totals import Totals
from tests.harness.valkey import OwnRedis
from tests.harness.world import ProcessNode, World

NODES = 3
ORGANISATIONS = 6
FAULTS = 40
FAULTS_AROUND = 8
# What a socket that is silent, a node that stands still, and a client's patience with both take at most.
REST_SECONDS = 90.0
ENVIRONMENT = {"HUB_DRAIN": "2", "HUB_LOG": "warning"}


@pytest.fixture
async def world(
    private_engines: PrivateEngines, own_redis: OwnRedis, proxies: FaultProxies, hubs: HubProcesses
) -> AsyncIterator[World]:
    """Three processes, each behind a proxy to Redis of its own."""
    urls = await private_engines.start()
    gates = [await proxies.open(own_redis.url) for _ in range(NODES)]
    nodes = [
        ProcessNode(
            await hubs.start(
                urls=EngineUrls(urls.database_url, urls.superuser_url, gate.url()), environment=ENVIRONMENT
            )
        )
        for gate in gates
    ]
    made = World([*nodes], gates, own_redis, urls)
    made.engines = private_engines
    yield made
    await made.close()


@pytest.mark.deadline(0)
async def test_nothing_is_lost_or_doubled(world: World, capsys: pytest.CaptureFixture[str]):
    """However long it goes on."""
    seed = int(os.environ.get("FAULT_SEED") or random.randrange(2**32))
    seconds = float(os.environ.get("SOAK_SECONDS") or 600)
    rng = random.Random(seed)
    totals, ways = Totals(), dealt(rng)
    organisations = Organisations(world.urls.database_url)
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        stack.callback(show, totals, seed, began, capsys)
        while totals.schedules == 0 or time.monotonic() - began < seconds:
            world.live_may_reset = False
            world.log.clear()
            crowds = [
                Crowd(world, await organisations.create(), rng.getrandbits(32), [*islice(ways, rng.choice((2, 3, 5)))])
                for _ in range(ORGANISATIONS)
            ]
            totals.add(await schedules(world, crowds, rng, faults=FAULTS, around=FAULTS_AROUND, within=REST_SECONDS))
    assert totals.wrong == (0, 0, 0, 0)


def show(totals: Totals, seed: int, began: float, capsys: pytest.CaptureFixture[str]) -> None:
    """Print the ledger to the terminal, also of a run that failed."""
    with capsys.disabled():
        print(f"\nLedger of {time.monotonic() - began:.0f} s, FAULT_SEED={seed}\n{totals.lines()}")
        print(*what_is_not_there(), sep="\n")
