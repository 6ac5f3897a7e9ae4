"""Fixtures of the whole suite: real engines, a fresh database a test, a clock in the hand, organisations.

Session fixtures are synchronous and hold nothing of an event loop. TEST_DATABASE_URL (a superuser's) and TEST_REDIS_URL make the
suite use engines that run already; the Redis server is then emptied before each test that uses it.
"""

import asyncio
import gc
import os
import secrets
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping

import pytest
import uvloop

from core.store.engines import EngineUrls, start_engines
from tests.harness.clock import ManualClock
from tests.harness.cluster import OwnCluster
from tests.harness.engines import (
    PrivateEngines,
    Template,
    flush,
    forget,
    given_engines,
    remove_with_engines,
    run,
    short_folder,
)
from tests.harness.forked import ZYGOTE
from tests.harness.hub_process import HubProcess, HubProcesses
from tests.harness.organisations import Organisation, Organisations
from tests.harness.proxy import FaultProxies
from tests.harness.valkey import OwnRedis, valkey_binary


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run every test on the loop of production."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Read and collect without looking for garbage in it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """Leave what was read and collected to nobody's garbage collection: each would look at a million objects, and find nothing."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


def pytest_sessionfinish() -> None:
    """Let the process end that hubs are copies of."""
    ZYGOTE.close()


@pytest.fixture(scope="session")
def engines() -> Iterator[EngineUrls]:
    """PostgreSQL and Redis, started once for the session."""
    database_url, redis_url = os.environ.get("TEST_DATABASE_URL"), os.environ.get("TEST_REDIS_URL")
    if database_url and redis_url:
        yield given_engines(database_url, redis_url)
        return
    folder = short_folder("hub-tests")
    started = run(start_engines(folder))
    run(forget(started.urls))
    yield started.urls
    started.close()
    remove_with_engines(folder)


@pytest.fixture(scope="session")
def template(engines: EngineUrls) -> Iterator[Template]:
    """The migrated database that each test's is copied from."""
    made = Template(engines)
    run(made.create())
    yield made
    run(made.close())


@pytest.fixture
def database_url(template: Template) -> Iterator[str]:
    """A fresh, migrated database; the URL is the plain login's, as in production."""
    name = f"hub_test_{secrets.token_hex(6)}"
    yield run(template.copy(name))
    run(template.drop(name))


@pytest.fixture(scope="module")
def urls(engines: EngineUrls, template: Template) -> Iterator[EngineUrls]:
    """The engines of a hub that serves all tests of a module, each of which has an organisation of its own."""
    name = f"hub_test_{secrets.token_hex(6)}"
    run(flush(engines.redis_url))
    yield EngineUrls(run(template.copy(name)), engines.superuser_url, engines.redis_url)
    run(template.drop(name))


@pytest.fixture
def empty_database_url(template: Template) -> Iterator[str]:
    """A fresh database that nobody has migrated."""
    name = f"hub_test_{secrets.token_hex(6)}"
    yield run(template.create_empty(name))
    run(template.drop(name))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is marked `each_redis` with a server and with a cluster."""
    if "redis_url" in metafunc.fixturenames and metafunc.definition.get_closest_marker("each_redis"):
        metafunc.parametrize("redis_kind", ["server", "cluster"])


@pytest.fixture
def redis_kind() -> str:
    """What `redis_url` is: a server."""
    return "server"


@pytest.fixture
def redis_url(redis_kind: str, request: pytest.FixtureRequest) -> str:
    """The session's Redis, emptied."""
    if redis_kind == "cluster":
        cluster: OwnCluster = request.getfixturevalue("cluster")
        cluster.flush()
        return cluster.url
    engines: EngineUrls = request.getfixturevalue("engines")
    run(flush(engines.redis_url))
    return engines.redis_url


@pytest.fixture(scope="session")
def cluster() -> Iterator[OwnCluster]:
    """A Redis Cluster of three masters, started once for the session."""
    yield from _cluster(replicas=False)


@pytest.fixture
def own_cluster() -> Iterator[OwnCluster]:
    """A Redis Cluster of this test's own, of three masters with a replica each."""
    yield from _cluster(replicas=True)


def _cluster(*, replicas: bool) -> Iterator[OwnCluster]:
    binary = valkey_binary()
    if binary is None:
        pytest.skip("no valkey-server on this platform")
    made = OwnCluster(binary, replicas=replicas)
    try:
        made.start()
        yield made
    finally:
        made.remove()


@pytest.fixture
def own_redis() -> Iterator[OwnRedis]:
    """A Redis server of this test's own: `kill stop pause resume restart`."""
    binary = valkey_binary()
    if binary is None:
        pytest.skip("no valkey-server on this platform")
    server = OwnRedis(binary)
    server.start()
    yield server
    server.remove()


@pytest.fixture
def private_engines() -> Iterator[PrivateEngines]:
    """Engines of this test's own, not started yet: `await private_engines.start()`, or give `.data` to a hub as HUB_DATA."""
    made = PrivateEngines()
    yield made
    made.remove()


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still."""
    return ManualClock()


@pytest.fixture
def organisations(database_url: str) -> Organisations:
    """Makes organisations, callers and keys in this test's database."""
    return Organisations(database_url)


@pytest.fixture
async def organisation(organisations: Organisations) -> Organisation:
    """One organisation of the enterprise tier; `.caller()` and `await .key()` act for it."""
    return await organisations.create()


@pytest.fixture
def hubs() -> Iterator[HubProcesses]:
    """Starts hub processes; ends all of them, and shows their logs when the test fails.

    Name it last among a test's arguments: what comes last ends first, and hubs end before the engines that they use.
    """
    made = HubProcesses(HubProcess)
    yield made
    made.end()


@pytest.fixture
async def proxies() -> AsyncIterator[FaultProxies]:
    """Opens fault proxies; closes all of them."""
    made = FaultProxies()
    yield made
    await made.close()
