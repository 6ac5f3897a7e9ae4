"""Workers are killed, stopped for longer than their leases, and drained, while they do jobs: each is done once."""

import random
import sys

import pytest

from core.clock import SystemClock
from core.jobs.jobs import Jobs
from core.store.database import Database
from core.store.engines import EngineUrls
from tests.faults.job_worker import KIND, LEASE_SECONDS
from tests.harness.hub_process import HubProcess, HubProcesses
from tests.harness.organisations import Organisation, Organisations
from tests.harness.waiting import eventually, let_pass

COUNT = 300
HARMS = ("killed", "stopped", "drained")
WORKERS = 3
TABLES = (
    "CREATE TABLE effects (job uuid, attempt int)",
    "CREATE TABLE steps (job uuid, attempt int)",
    "GRANT INSERT ON effects, steps TO hub_app",
)
COMMAND = (sys.executable, "-m", "tests.faults.job_worker")


@pytest.mark.slow
@pytest.mark.deadline(300)
async def test_each_job_is_done_once_whatever_happens_to_workers(
    seed: int, organisations: Organisations, engines: EngineUrls, database_url: str, hubs: HubProcesses
):
    """Its last transaction is committed once, by the attempt that ended it."""
    rng = random.Random(seed)
    orgs = [await organisations.create() for _ in range(3)]
    for statement in TABLES:
        await orgs[0].rows(statement)
    await _enqueue(database_url, orgs)
    urls = EngineUrls(database_url, engines.superuser_url, engines.redis_url)
    workers = [hubs.prepare(urls=urls, command=COMMAND) for _ in range(WORKERS)]
    for worker in workers:
        worker.launch()
    happened: list[str] = []
    while not await _all_ended(orgs[0]):
        await let_pass(rng.uniform(0.05, 0.5))
        working = [worker for worker in workers if "works" in worker.output()]
        if working:
            # The first is the one that this test is most about.
            happened.append(rng.choice(HARMS) if happened else "killed")
            await _harm(rng.choice(working), happened[-1], rng)
    print(f"{len(happened)} faults: {happened}")
    for worker in workers:
        await eventually(lambda worker=worker: "works" in worker.output())
        assert await worker.stop() == 0
    await _check(orgs[0])
    assert happened


async def _enqueue(url: str, orgs: list[Organisation]) -> None:
    database = Database(url, role="hub_app", size=1)
    jobs = Jobs(SystemClock(), lambda: None)
    for number in range(COUNT):
        org = orgs[number % len(orgs)]
        async with database.transaction(org.id) as db:
            await jobs.enqueue(db, org.id, KIND, number, max_attempts=1000)
    await database.close()


async def _harm(worker: HubProcess, what: str, rng: random.Random) -> None:
    match what:
        case "killed":
            worker.kill()
            worker.launch()
        case "stopped":
            worker.pause()
            await let_pass(rng.uniform(0.2, 2.5) * LEASE_SECONDS)
            worker.resume()
        case _:
            assert await worker.stop() == 0
            worker.launch()


async def _all_ended(org: Organisation) -> bool:
    (row,) = await org.rows("SELECT count(*) AS left FROM jobs WHERE finished_at IS NULL")
    return row["left"] == 0


async def _check(org: Organisation) -> None:
    statuses = await org.rows("SELECT status, count(*) AS count FROM jobs GROUP BY status")
    assert [tuple(row) for row in statuses] == [("completed", COUNT)]
    doubled = await org.rows("SELECT job, count(*) FROM effects GROUP BY job HAVING count(*) <> 1")
    assert doubled == []
    by_another = """
    SELECT jobs.id FROM jobs LEFT JOIN effects ON effects.job = jobs.id AND effects.attempt = jobs.attempt
    WHERE effects.job IS NULL OR result <> format('{"attempt":%s}', jobs.attempt)
    """
    assert await org.rows(by_another) == []
    # The steps of one attempt are at most as many as it has, and the one that ended the job has all of them.
    steps = """
    SELECT jobs.id FROM jobs JOIN steps ON steps.job = jobs.id AND steps.attempt = jobs.attempt GROUP BY 1 HAVING count(*) <> 3
    """
    assert await org.rows(steps) == []
    (row,) = await org.rows("SELECT max(attempt) AS most, count(*) FILTER (WHERE attempt > 1) AS again FROM jobs")
    print(f"most attempts of a job: {row['most']}, jobs of several attempts: {row['again']}")
