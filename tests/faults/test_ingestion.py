"""Workers are killed while they read documents: each document ends ready or failed, with each of its chunks in the index once."""

import asyncio
import random
import sys
from functools import partial
from typing import Any

import pytest

from core.store.engines import EngineUrls
from tests.harness.hub_process import HubProcess, HubProcesses
from tests.harness.organisations import Organisation
from tests.harness.rest_client import RestClient
from tests.harness.waiting import eventually, let_pass

COUNT = 240
AT_ONCE = 40
# One in so many is no PDF, though it says so.
BROKEN = 12
SECTIONS = 3
WORKERS = 2
KILLS = 3
# On a busy machine a worker that has just begun may get nothing done before it is killed: an end without an end.
MOST_KILLS = 20
WORK = (sys.executable, "-m", "hub", "work")


@pytest.mark.slow
@pytest.mark.deadline(300)
async def test_each_document_is_read_once_whatever_happens_to_workers(
    seed: int, organisation: Organisation, engines: EngineUrls, database_url: str, hubs: HubProcesses
):
    """New versions come meanwhile; the last of each is what is found."""
    rng = random.Random(seed)
    urls = EngineUrls(database_url, engines.superuser_url, engines.redis_url)
    node = hubs.prepare(urls=urls, environment={"HUB_JOBS": "false"})
    workers = [hubs.prepare(urls=urls, command=WORK) for _ in range(WORKERS)]
    await node.start()
    for worker in workers:
        worker.launch()
    await eventually(lambda: len(_working(workers)) == WORKERS)
    async with RestClient(node.base_url, await organisation.key()) as rest:
        made = (await rest.call("POST", "/v2/knowledge", {"name": "Docs"})).body
        path = f"/v2/knowledge/{made['id']}/documents"
        killed = 0
        for first in range(0, COUNT, AT_ONCE):
            documents = [_document(number, 1) for number in range(first, first + AT_ONCE)]
            if first:
                documents += [_document(number, 2) for number in rng.sample(range(first - AT_ONCE, first), 5)]
            assert (await rest.call("POST", path, {"documents": documents})).status in (201, 202)
            killed += await _kill_one(workers, rng)
        while killed < MOST_KILLS and await _pending(organisation):
            killed += await _kill_one(workers, rng)
        await eventually(lambda: _is_read(organisation), within=200, every=0.05)
    print(f"{killed} workers were killed")
    assert killed
    await _check(organisation, COUNT)


@pytest.mark.slow
@pytest.mark.deadline(180)
async def test_hub_that_is_killed_while_it_takes_and_reads_documents(
    seed: int, organisation: Organisation, engines: EngineUrls, database_url: str, hubs: HubProcesses
):
    """It reads them itself. Uploads that had no answer are repeated under their key: no document is lost, or there twice."""
    rng = random.Random(seed)
    node = hubs.prepare(urls=EngineUrls(database_url, engines.superuser_url, engines.redis_url))
    await node.start()
    key = await organisation.key()
    async with RestClient(node.base_url, key) as rest:
        base = (await rest.call("POST", "/v2/knowledge", {"name": "Docs"})).body["id"]
    for first in range(0, AT_ONCE * KILLS, AT_ONCE):
        sent = {"documents": [_document(number, 1) for number in range(first, first + AT_ONCE)]}
        async with RestClient(node.base_url, key) as rest:
            asking = asyncio.ensure_future(_upload(rest, base, sent, first))
            await let_pass(rng.uniform(0.0, 1.5))
            node.kill()
            await asyncio.wait({asking})
        await node.start()
        async with RestClient(node.base_url, key) as rest:
            # Until PostgreSQL has seen that the killed node is gone, its upload is being worked on: 409, ask again.
            again = await eventually(partial(_upload, rest, base, sent, first))
        if asking.exception() is None:
            assert [each["id"] for each in again["data"]] == [each["id"] for each in asking.result()["data"]]

    await eventually(lambda: _is_read(organisation), within=90)
    await _check(organisation, AT_ONCE * KILLS)


async def _upload(rest: RestClient, base: str, sent: dict[str, Any], number: int) -> dict[str, Any]:
    path = f"/v2/knowledge/{base}/documents"
    answer = await rest.call("POST", path, sent, Idempotency_Key=f"upload-{number}")
    assert answer.status in (201, 202), answer
    return answer.body


def _document(number: int, version: int) -> dict[str, Any]:
    if number % BROKEN == 0:
        return {"name": f"{number}.pdf", "content": f"no PDF {version}", "content_type": "application/pdf"}
    sections = "\n\n".join(f"# Part {part}\n\n{'Some words of it. ' * 60}" for part in range(SECTIONS))
    return {"name": f"{number}.md", "content": f"{sections}\n\nVersion {version} of {number}."}


async def _kill_one(workers: list[HubProcess], rng: random.Random) -> int:
    """Kill a worker that works, most likely in the middle of a batch; another one takes its place."""
    await let_pass(rng.uniform(0.2, 1.5))
    working = _working(workers)
    if len(working) < WORKERS:
        return 0
    victim = rng.choice(working)
    victim.kill()
    victim.launch()
    return 1


def _working(workers: list[HubProcess]) -> list[HubProcess]:
    return [worker for worker in workers if worker.running and "does jobs" in worker.output()]


async def _pending(organisation: Organisation) -> bool:
    return bool(await organisation.rows("SELECT FROM documents WHERE status = 'pending' LIMIT 1"))


async def _is_read(organisation: Organisation) -> bool:
    return not await _pending(organisation)


async def _check(organisation: Organisation, count: int) -> None:
    async def ended() -> bool:
        return not await organisation.rows("SELECT FROM jobs WHERE kind = 'knowledge.ingest' AND finished_at IS NULL")

    await eventually(ended)
    rows = await organisation.rows("SELECT name, status, version, ready_version FROM documents")
    assert len(rows) == count
    assert all((row["status"] == "failed") == row["name"].endswith(".pdf") for row in rows)
    assert all(row["version"] == row["ready_version"] for row in rows if row["status"] == "ready")
    chunks = await organisation.rows(
        "SELECT d.name, d.chunks, count(c.id) AS found, count(DISTINCT c.ordinal) AS ordinals, count(t.chunk_id) AS indexed, "
        "bool_or(c.text LIKE '%Version ' || d.version || ' of%') AS is_last "
        "FROM documents d LEFT JOIN chunks c ON c.document_id = d.id LEFT JOIN chunk_terms t ON t.chunk_id = c.id "
        "WHERE d.status = 'ready' GROUP BY 1, 2"
    )
    wrong = [
        row
        for row in chunks
        if not row["chunks"] == row["found"] == row["ordinals"] == row["indexed"] or not row["is_last"]
    ]
    assert not wrong
    runs = await organisation.rows("SELECT status FROM jobs WHERE kind = 'knowledge.ingest'")
    assert {row["status"] for row in runs} == {"completed"}
