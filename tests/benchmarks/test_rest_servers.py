"""Who is measured beside the hub's REST does what the hub does: the same answers, the same rows."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from benchmarks.bench import Bench
from benchmarks.generator import build_generators
from benchmarks.hub_under_test import HubUnderTest, Organisation
from benchmarks.latency import BODY
from benchmarks.rest_servers import FASTAPI, RestServer, has_fastapi, rest_servers
from core.store.database import connect_as

pytestmark = pytest.mark.slow
OURS = ("id", "created_at", "updated_at")


@pytest.fixture
async def place(tmp_path: Path) -> AsyncGenerator[tuple[Bench, Organisation]]:
    async with HubUnderTest(tmp_path, None) as hub:
        bench = Bench(hub, build_generators(tmp_path), None, tmp_path, quick=True, peers=frozenset({"fastapi"}))
        yield bench, await hub.organisation("acme")


async def _rows(url: str) -> list[Any]:
    tables = ("agents", "agents_history", "audit WHERE operation = 'agents.create'", "benchmark.outbox")
    owner = await connect_as(url, "hub_owner")
    try:
        return [await owner.fetchval(f"SELECT count(*) FROM {table}") for table in tables]  # noqa: S608 - fixed names
    finally:
        await owner.close()


async def _answers(server: RestServer, key: str, agent: str) -> list[Any]:
    """Read one, again where it has not changed, and all."""
    said: list[Any] = []
    async with aiohttp.ClientSession(f"http://{server.process.address}") as client:
        headers = {"Authorization": f"Bearer {key}"}
        async with client.get(agent, headers=headers) as got:
            said += [got.status, got.content_type, got.headers["ETag"], await got.json()]
        unchanged = {**headers, "If-None-Match": got.headers["ETag"]}
        async with client.get(agent, headers=unchanged) as got:
            said += [got.status, await got.read()]
        async with client.get("/v2/agents?per_page=20", headers=headers) as got:
            page = await got.json()
            said += [got.status, page["data"], page["pagination"]["total"]]
    return said


async def _create(server: RestServer, key: str) -> tuple[int, str, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    async with (
        aiohttp.ClientSession(f"http://{server.process.address}") as client,
        client.post("/v2/agents", data=BODY, headers=headers) as made,
    ):
        return made.status, made.headers["Location"], await made.json()


async def test_everybody_does_the_same_work(place: tuple[Bench, Organisation]):
    """The same document, page and 304; a create leaves a row in each table. FastAPI takes part where it is installed."""
    bench, acme = place
    async with rest_servers(bench, acme, acme, connections=2) as servers:
        assert [server.key for server in servers] == ["hub", "bare", *(FASTAPI if has_fastapi() else ())]
        hub = servers[0]
        _, agent, document = await _create(hub, acme.key)
        for server in servers[1:]:
            assert await _answers(server, acme.key, agent) == await _answers(hub, acme.key, agent)
            before = await _rows(bench.hub.database_url)
            status, location, made = await _create(server, acme.key)
            assert [now - then for now, then in zip(await _rows(bench.hub.database_url), before, strict=True)] == [
                1
            ] * 4
            assert (status, location) == (201, f"/v2/agents/{made['id']}")
            assert {name: made[name] for name in made if name not in OURS}.items() <= document.items()
            assert (await _answers(hub, acme.key, location))[3] == made
