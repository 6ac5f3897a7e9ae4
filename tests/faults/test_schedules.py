"""Hundreds of schedules of faults, by chance, against nodes over real engines: no gap, no double, right order, or a reset.

A world is two nodes inside the test, whose clocks run four times as fast, a Redis server of its own behind proxies, and a database.
In each round some organisations live in it side by side: a schedule is what happens to one of them. A failure prints the seed of
its schedule; FAULT_SEED runs the same rounds again, though time and the network add chance of their own.
"""

import random
from collections.abc import AsyncIterator
from itertools import islice
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from core.store.engines import EngineUrls
from tests.harness.cluster import OwnCluster
from tests.harness.comers import dealt, what_is_not_there
from tests.harness.crowd import Crowd, schedules
from tests.harness.loudly import say_loudly
from tests.harness.organisations import Organisations
from tests.harness.proxy import FaultProxies
from tests.harness.totals import Totals
from tests.harness.valkey import OwnRedis
from tests.harness.world import InsideNode, World

# Members that the nodes of each world write to in one go: with one or two, large rooms are what a few clients make.
SLICES = (1000, 1, 1000, 2)
ROUNDS = 3
# Seconds; some ten, where the machine has time.
DEADLINE = 300
ORGANISATIONS = 8
# In one of so many organisations people come and go.
ATTENDED = 3
FAULTS = 5
FAULTS_AROUND = 3

pytestmark = [pytest.mark.deadline(DEADLINE), pytest.mark.usefixtures("what_is_not_tested")]


@pytest.fixture(scope="session")
def what_is_not_tested(request: pytest.FixtureRequest) -> None:
    """Say which readers are not there."""
    for words in what_is_not_there():
        say_loudly(request, words)


@pytest.fixture
async def world(
    engines: EngineUrls,
    database_url: str,
    own_redis: OwnRedis,
    proxies: FaultProxies,
    tmp_path: Path,
    fanout_slice: int,
) -> AsyncIterator[World]:
    """Two nodes, each behind a proxy to Redis of its own."""
    deaths: list[str] = []
    gates = [await proxies.open(own_redis.url) for _ in range(2)]
    nodes = [
        InsideNode(EngineUrls(database_url, engines.superuser_url, gate.url()), tmp_path, deaths, fanout_slice)
        for gate in gates
    ]
    made = World([*nodes], gates, own_redis, EngineUrls(database_url, engines.superuser_url, own_redis.url))
    made.deaths = deaths
    with capture_logs() as made.hub_log:
        for node in nodes:
            await node.up()
        yield made
        await made.close()


@pytest.fixture
async def cluster_world(
    engines: EngineUrls, database_url: str, own_cluster: OwnCluster, tmp_path: Path
) -> AsyncIterator[World]:
    """Two nodes on a Redis Cluster."""
    urls = EngineUrls(database_url, engines.superuser_url, own_cluster.url)
    deaths: list[str] = []
    made = World([InsideNode(urls, tmp_path, deaths) for _ in range(2)], [], own_cluster, urls)
    made.deaths = deaths
    with capture_logs() as made.hub_log:
        for node in made.nodes:
            await node.up()
        yield made
        await made.close()


@pytest.mark.parametrize(("number", "fanout_slice"), list(enumerate(SLICES)))
async def test_any_schedule_of_faults(number: int, world: World, organisations: Organisations, seed: int):
    """Every client of every organisation is told everything once, in order, or of a loss that could not be helped."""
    await live_through(world, organisations, random.Random(f"{seed}:{number}"), ROUNDS)


async def test_any_schedule_of_faults_of_a_cluster(cluster_world: World, organisations: Organisations, seed: int):
    """The same where slots move and masters are replaced."""
    await live_through(cluster_world, organisations, random.Random(f"{seed}:cluster"), 1)


async def live_through(world: World, organisations: Organisations, rng: random.Random, rounds: int) -> None:
    """Let crowds live in the world, round after round, and check what they were told."""
    totals, ways = Totals(), dealt(rng)
    for _ in range(rounds):
        world.live_may_reset = False
        world.log.clear()
        crowds = [
            Crowd(
                world,
                await organisations.create(),
                rng.getrandbits(32),
                [*islice(ways, rng.choice((1, 2, 3)))],
                is_attended=number % ATTENDED == 0,
            )
            for number in range(ORGANISATIONS)
        ]
        totals.add(await schedules(world, crowds, rng, faults=FAULTS, around=FAULTS_AROUND))
    print(totals.lines())
    assert totals.wrong == (0, 0, 0, 0)
    assert totals.received > 0
