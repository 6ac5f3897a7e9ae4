"""A process is killed in the middle of a twin's synchronisation: nothing of it is there, and the next run does all of it, once."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from core.store.engines import EngineUrls
from tests.harness.hub_process import HubProcesses
from tests.harness.organisations import Organisation
from tests.harness.outside import serving
from tests.harness.rest_client import RestClient
from tests.harness.waiting import eventually

ENVIRONMENT = {"HUB_OUTBOUND_ALLOW": "127.0.0.0/8"}
BEFORE = {"orders": 0}
WAITING = "SELECT FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted"


class Source:
    """Answers with how often it was asked; `gate`, where there is one, comes after the first half of the answer."""

    def __init__(self) -> None:
        self.asked = 0
        self.gate: asyncio.Event | None = None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        body = b'{"orders": %d, "lines": [%b]}' % (self.asked, b"1, " * 999 + b"1")
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(body))})
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        if self.gate is not None:
            await self.gate.wait()
        await response.write(body[len(body) // 2 :])
        return response


@pytest.fixture
def urls(engines: EngineUrls, database_url: str, redis_url: str) -> EngineUrls:
    return EngineUrls(database_url, engines.superuser_url, redis_url)


async def made(client: RestClient, port: int) -> str:
    source = {"kind": "http", "url": f"http://127.0.0.1:{port}/"}
    body = {"name": "Plant", "data": BEFORE, "source": source, "sync_schedule": "daily"}
    return (await client.call("POST", "/v2/twins", body)).body["id"]


async def check_done(client: RestClient, twin: str, orders: int) -> None:
    """The twin has what the source gave last, by one change; how its synchronisation stands says the same."""

    async def synchronised() -> Any:
        said = (await client.call("GET", f"/v2/twins/{twin}/sync")).body
        return said if said["status"] == "idle" and said["outcome"] is not None else None

    said = await eventually(synchronised, within=60, what="the twin is synchronised")
    assert (said["outcome"], said["failures"], said["error"]) == ("changed", 0, None)
    found = (await client.call("GET", f"/v2/twins/{twin}")).body
    assert (found["data"]["orders"], len(found["data"]["lines"]), found["version"]) == (orders, 1_000, 2)

    async def types() -> Any:
        log = (await client.call("GET", f"/v2/events?subject=twins/{twin}&per_page=100")).body["data"]
        return len(log) >= 3 and sorted(each["type"] for each in log)

    assert await eventually(types) == ["twin.created", "twin.synchronised", "twin.updated"]


async def check_untouched(client: RestClient, twin: str) -> None:
    found = (await client.call("GET", f"/v2/twins/{twin}")).body
    assert (found["data"], found["version"]) == (BEFORE, 1)


@pytest.mark.deadline(180)
async def test_killed_while_the_source_answers(organisation: Organisation, urls: EngineUrls, hubs: HubProcesses):
    """Half of the answer was read."""
    source = Source()
    source.gate = asyncio.Event()
    key = await organisation.key()
    first = await hubs.start(urls=urls, environment=ENVIRONMENT)
    async with serving(source.answer) as port:
        async with RestClient(first.base_url, key) as client:
            twin = await made(client, port)
            await eventually(lambda: source.asked == 1, within=30, what="the source is asked")
            first.kill()
        source.gate.set()
        other = await hubs.start(urls=urls, environment={**ENVIRONMENT, "HUB_JOBS": "false"})
        async with RestClient(other.base_url, key) as client:
            await check_untouched(client, twin)
            await hubs.start(urls=urls, environment=ENVIRONMENT)
            await check_done(client, twin, orders=2)
    assert source.asked == 2


@pytest.mark.deadline(180)
async def test_killed_while_it_writes(organisation: Organisation, urls: EngineUrls, hubs: HubProcesses):
    """All was fetched, and the transaction has begun: it waits for the twin, which somebody holds."""
    source = Source()
    source.gate = asyncio.Event()
    key = await organisation.key()
    first = await hubs.start(urls=urls, environment=ENVIRONMENT)
    other = await hubs.start(urls=urls, environment={**ENVIRONMENT, "HUB_JOBS": "false"})
    async with serving(source.answer) as port, RestClient(other.base_url, key) as client:
        twin = await made(client, port)
        await eventually(lambda: source.asked == 1, within=30, what="the source is asked")
        async with organisation.holding("twins"):
            source.gate.set()
            await eventually(lambda: organisation.rows(WAITING), what="the worker waits for the twin")
            first.kill()
            await check_untouched(client, twin)
        await hubs.start(urls=urls, environment=ENVIRONMENT)
        await check_done(client, twin, orders=2)
    assert source.asked == 2
