"""The jobs of a process: who makes one wakes a worker in another process; housekeeping comes by itself; `work` does them."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from core.clock import SystemClock
from core.deadline import end_tasks
from core.store.database import Database
from core.store.engines import EngineUrls
from core.store.redis import connect_redis
from hub.jobs import BURIED_SECONDS, JobParts
from hub.pokes import JOINED_SECONDS, follow, hear
from tests.core.events.subscriptions.trial import Trial
from tests.harness.clock import ManualClock
from tests.harness.hub_process import HubProcess, HubProcesses
from tests.harness.organisations import Organisation
from tests.harness.rest_client import RestClient
from tests.harness.waiting import eventually

WORK = (sys.executable, "-m", "hub", "work")
SERVE = (sys.executable, "-m", "hub", "serve", "--port", "0", "--no-jobs")
# What comes by itself, at the start.
AT_FIRST = {("housekeeping", "completed"): 1, ("subscriptions.bury", "completed"): 1}


@asynccontextmanager
async def parts(database_url: str, redis_url: str, clock: ManualClock, *, does_jobs: bool) -> AsyncGenerator[JobParts]:
    async with AsyncExitStack() as stack:
        database, redis = Database(database_url, role="hub_app", size=4), connect_redis(redis_url)
        stack.push_async_callback(database.close)
        stack.push_async_callback(redis.aclose)
        made = JobParts(database_url, database, redis, clock, does_jobs=does_jobs)
        stack.push_async_callback(made.close)
        # Sockets need time that passes; only the workers' looks must not.
        heard = await hear(redis_url, SystemClock(), made.pokes)
        stack.push_async_callback(heard.close)
        tasks = [asyncio.create_task(follow(heard, made.pokes))]
        stack.push_async_callback(end_tasks, tasks)
        await eventually(lambda: heard.hears(made.pokes.channel))
        if made.workers is not None:
            tasks.append(asyncio.create_task(made.workers.run()))
        yield made


async def test_job_wakes_workers_of_another_process(
    database_url: str, redis_url: str, clock: ManualClock, organisation: Organisation
):
    """The clock stands still, so nothing but the poke can have woken them."""
    async with parts(database_url, redis_url, clock, does_jobs=True) as worker:
        assert worker.workers is not None
        await eventually(lambda: worker.ended == AT_FIRST)
        async with parts(database_url, redis_url, clock, does_jobs=False) as maker:
            database = Database(database_url, role="hub_system", size=1)
            async with database.unbound() as db:
                await maker.jobs.enqueue(db, None, "housekeeping", None)
            await database.close()
            maker.jobs.poke()
            await clock.advance(JOINED_SECONDS)
            await eventually(lambda: worker.ended == {**AT_FIRST, ("housekeeping", "completed"): 2})


async def test_what_nobody_pulls_any_more_is_buried_within_a_minute(
    database_url: str, redis_url: str, clock: ManualClock, organisation: Organisation
):
    """By a job that comes by itself: the last attempt has ended, and nobody will ask for the next."""
    database = Database(database_url, role="hub_app", size=2)
    trial = Trial.of(database_url, database, organisation)
    async with parts(database_url, redis_url, clock, does_jobs=True) as worker:
        await eventually(lambda: worker.ended == AT_FIRST)
        await trial.append("agents/a")
        subscription = await trial.subscribe(0, max_deliveries=1)
        assert len(await trial.consumer.lease(trial.org_id, subscription.id, 1)) == 1
        await trial.pass_time(31)
        await clock.advance(BURIED_SECONDS + 1)

        async def is_told() -> bool:
            worker.pokes.poke()
            return bool(await trial.rows("SELECT 1 FROM outbox WHERE type = 'subscription.dead_lettered'"))

        await eventually(is_told)
        assert (await trial.figures(subscription.id)).dead_letters == 1
    await database.close()


async def test_work_does_jobs_beside_a_hub_that_does_none(
    database_url: str, redis_url: str, engines: EngineUrls, organisation: Organisation, hubs: HubProcesses
):
    """`serve --no-jobs` leaves them; `work` does them, and drains at SIGTERM. The hub's metrics tell what waits."""
    urls = EngineUrls(database_url, engines.superuser_url, redis_url)
    hub = await hubs.start(urls=urls, command=SERVE)
    made = (
        "INSERT INTO jobs (id, kind, payload, run_at, created_at) VALUES (gen_random_uuid(), $1, 'null', now(), now())"
    )
    await organisation.rows(made, "housekeeping")
    await organisation.rows(made, "of another release")
    await eventually(lambda: _metric(hub, 'hub_jobs_queued{kind="housekeeping"} 1.0'))
    worker = hubs.prepare(urls=urls, command=WORK)
    worker.launch()
    await eventually(lambda: _metric(hub, 'hub_jobs_queued{kind="housekeeping"} 0.0'))

    async def done() -> bool:
        rows = await organisation.rows("SELECT DISTINCT kind, status FROM jobs WHERE status <> 'queued'")
        return {tuple(row) for row in rows} >= {*AT_FIRST, ("knowledge.tidy", "completed")}

    await eventually(done)
    assert "hub_jobs_oldest_seconds" in await _metrics(hub)
    assert await worker.stop() == 0


async def test_work_without_a_database_ends_with_a_reason(hubs: HubProcesses):
    """As every command does."""
    urls = EngineUrls("postgresql://nobody@127.0.0.1:1/none", "", "redis://127.0.0.1:1")
    worker = hubs.prepare(urls=urls, command=WORK)
    worker.launch()
    await eventually(lambda: not worker.running)
    assert worker.exit_code == 1
    assert "doctor" in worker.output()


async def _metric(hub: HubProcess, line: str) -> bool:
    return line in await _metrics(hub)


async def _metrics(hub: HubProcess) -> str:
    async with RestClient(hub.base_url, None) as client:
        answer = await client.call("GET", "/metrics")
        return answer.text
