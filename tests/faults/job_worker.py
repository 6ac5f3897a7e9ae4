"""A worker process of the fault tests: `python -m tests.faults.job_worker`. Its jobs take a moment and end with one row."""

import asyncio
import os
import random
import signal

from core.clock import SystemClock
from core.deadline import end_tasks
from core.jobs.kind import JobKind
from core.jobs.run import JobRun
from core.jobs.workers import Workers
from core.store.database import Database

KIND = "of a fault test"
# A worker that stands still for longer loses what it has.
LEASE_SECONDS = 1.5
STEPS = 3
LONGEST_STEP_SECONDS = 0.15

_clock = SystemClock()


async def _do(run: JobRun) -> None:
    for step in range(STEPS):
        await _clock.sleep(random.random() * LONGEST_STEP_SECONDS)
        await run.tell({"step": step})
        async with run.transaction() as db:
            await db.execute("INSERT INTO steps (job, attempt) VALUES ($1, $2)", run.id, run.attempt)
            await _clock.sleep(random.random() * LONGEST_STEP_SECONDS / 10)
    async with run.finishing({"attempt": run.attempt}) as db:
        await db.execute("INSERT INTO effects (job, attempt) VALUES ($1, $2)", run.id, run.attempt)
        await _clock.sleep(random.random() * LONGEST_STEP_SECONDS / 10)


async def work(url: str) -> None:
    """Work until SIGTERM."""
    ending = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    app, system = Database(url, role="hub_app"), Database(url, role="hub_system")
    workers = Workers(url, app, system, [JobKind(KIND, _do, lease_seconds=LEASE_SECONDS)], _clock)
    running = asyncio.create_task(workers.run())
    print("works", flush=True)
    await ending.wait()
    await workers.drain(0)
    await end_tasks([running])
    await system.close()
    await app.close()


if __name__ == "__main__":
    asyncio.run(work(os.environ["DATABASE_URL"]))
