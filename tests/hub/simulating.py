"""What tests of simulations on a whole hub share: one hub a module, twins, and what is asked of them."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest

from core.store.engines import EngineUrls
from tests.harness.engines import run
from tests.harness.hub_process import HubProcess, HubProcesses
from tests.harness.organisations import Organisation, Organisations
from tests.harness.rest_client import Answer, RestClient
from tests.harness.waiting import eventually

EVENTS = {"Accept": "text/event-stream"}
LATER = {"Prefer": "respond-async"}
ENDED = ("completed", "failed", "cancelled")
# A server that is busy half of its time. With this horizon one run takes some ten milliseconds.
QUEUE = {
    "engine": "network",
    "time_unit": "hour",
    "horizon": 500,
    "nodes": {
        "doors": {
            "kind": "arrivals",
            "to": "desk",
            "interval": {"distribution": "exponential", "mean": 1.0},
        },
        "desk": {"kind": "queue", "service": {"distribution": "exponential", "mean": 0.5}},
    },
}
SPIKE = {"scenario": "demand_spike", "parameters": {"increase_percentage": 30}}
LONG = {**SPIKE, "runs": 1000, "horizon": 5000, "seed": 7, "deadline": 600}


@pytest.fixture(scope="module")
def hub(urls: EngineUrls) -> Iterator[HubProcess]:
    processes = HubProcesses()
    yield run(processes.start(urls=urls))
    processes.end()


@pytest.fixture
async def organisation(urls: EngineUrls) -> Organisation:
    return await Organisations(urls.database_url).create()


@pytest.fixture
async def key(organisation: Organisation) -> str:
    return await organisation.key()


@pytest.fixture
async def client(hub: HubProcess, key: str) -> AsyncIterator[RestClient]:
    async with RestClient(hub.base_url, key, timeout=60) as made:
        yield made


async def twin(client: RestClient, **fields: Any) -> str:
    made = await client.call("POST", "/v2/twins", {"name": "Desk", "model": QUEUE, **fields})
    assert made.status == 201, made
    return made.body["id"]


async def simulate(client: RestClient, id: str, body: Any, **headers: str) -> Answer:
    return await client.call("POST", f"/v2/twins/{id}/simulate", body, **headers)


async def ended(client: RestClient, id: str) -> Any:
    """Return a simulation once it has ended."""

    async def look() -> Any:
        found = (await client.call("GET", f"/v2/simulations/{id}")).body
        return found if found["status"] in ENDED else None

    return await eventually(look, within=120, what="a simulation ends")


@asynccontextmanager
async def streamed(client: RestClient, method: str, path: str, body: Any = None) -> AsyncGenerator[list[Any]]:
    """Give the events of an answer that is streamed, all of them."""
    async with (
        aiohttp.ClientSession(headers=client._headers) as session,  # pyright: ignore[reportPrivateUsage]
        session.request(method, client.base_url + path, json=body, headers=EVENTS) as response,
    ):
        assert response.status == 200, await response.text()
        text = await response.text()
    blocks = [dict(line.split(": ", 1) for line in block.split("\n") if ": " in line) for block in text.split("\n\n")]
    yield [(block["event"], orjson.loads(block["data"])) for block in blocks if "event" in block]
