"""A hub of two workers on one address, watched from outside; and its workers, by pid."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from core.store.engines import EngineUrls
from tests.harness.hub_process import HubProcess, HubProcesses
from tests.harness.waiting import eventually, let_pass

COMMAND = (sys.executable, "-m", "hub", "serve", "--port", "0", "--workers", "2")
Samples = dict[str, float]


@pytest.fixture
def urls(engines: EngineUrls, database_url: str, redis_url: str) -> EngineUrls:
    """Where the engines of a test are."""
    return EngineUrls(database_url, engines.superuser_url, redis_url)


@pytest.fixture
async def hub(urls: EngineUrls, hubs: HubProcesses) -> HubProcess:
    """Two workers that serve."""
    return await hubs.start(urls=urls, command=COMMAND)


def workers_of(hub: HubProcess) -> list[psutil.Process]:
    """Return the workers that live, oldest first."""
    found: list[psutil.Process] = []
    for each in psutil.Process(hub.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if "hub.workers.worker" in each.cmdline() and each.status() != psutil.STATUS_ZOMBIE:
                found.append(each)
    return sorted(found, key=lambda each: (each.create_time(), each.pid))


async def metrics_of(hub: HubProcess) -> Samples:
    """Ask anew, of whichever worker it is, and return the samples by name and values of labels."""
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
        session.get(f"{hub.base_url}/metrics") as answer,
    ):
        assert answer.status == 200, await answer.text()
        return {
            sample.name + "".join(f"{{{value}}}" for value in sample.labels.values()): sample.value
            for family in text_string_to_metric_families(await answer.text())
            for sample in family.samples
        }


async def all_up(hub: HubProcess, *, starts: int) -> None:
    """Wait until both workers answer, and as many were started in all."""

    async def are_up() -> bool:
        seen = await metrics_of(hub)
        up = [seen[f"hub_worker_up{{{worker}}}"] for worker in (0, 1)]
        return up == [1, 1] and sum(seen[f"hub_worker_starts_total{{{worker}}}"] for worker in (0, 1)) == starts

    await eventually(are_up, within=60, every=0.05, retry_on=(aiohttp.ClientError, OSError), what="both workers are up")


def said(hub: HubProcess, what: str) -> Callable[[], bool]:
    """Tell whether the hub has logged `what`."""
    return lambda: what in hub.output()


@dataclass
class Knocks:
    """What came of fresh connections: how many were answered, and what went wrong."""

    answered: int = 0
    wrong: list[str] = field(default_factory=list[str])


@asynccontextmanager
async def knocking(hub: HubProcess, *pauses: float) -> AsyncGenerator[Knocks]:
    """Open fresh connections all the time, and ask on each; for each pause one by one, that long between connection and request."""
    knocks = Knocks()
    tasks = [asyncio.create_task(_knock_on(hub, knocks, pause)) for pause in pauses]
    try:
        yield knocks
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(result, asyncio.CancelledError):
                raise RuntimeError("a knocker has ended") from result


async def _knock_on(hub: HubProcess, knocks: Knocks, pause: float) -> None:
    host, port = hub.base_url.removeprefix("http://").split(":")
    while True:
        try:
            async with asyncio.timeout(10):
                reader, writer = await asyncio.open_connection(host, int(port))
                with contextlib.closing(writer):
                    await let_pass(pause)
                    writer.write(b"GET /livez HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n")
                    answer = await reader.read()
        except (OSError, TimeoutError) as error:
            knocks.wrong.append(f"after {pause} s: {error!r}")
        else:
            if answer.startswith(b"HTTP/1.1 200"):
                knocks.answered += 1
            else:
                knocks.wrong.append(f"after {pause} s: {answer!r}")
        await let_pass(0.01)
