"""Workers: the dead and the stopped are followed, a drain gives back, PostgreSQL may go and come."""

import asyncio
from dataclasses import replace

import asyncpg

from core.jobs.kind import JobKind
from core.jobs.workers import LOCK_CLASS, RETURN_SECONDS, Workers
from tests.core.jobs.house import House, Steps, error_of
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation
from tests.harness.waiting import eventually

# A job of a worker that nobody sees any more: its session is gone, its lease is not.
OF_THE_DEAD = """
UPDATE jobs SET status = 'running', attempt = attempt + 1, worker = 12345, max_attempts = $2,
    lease_until = clock_timestamp() + interval '1 h' WHERE id = $1
"""
END_SESSIONS = """
SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid = $1::oid
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


async def test_job_of_a_dead_worker_is_taken_long_before_its_lease_ends(
    house: House, organisation: Organisation, clock: ManualClock
):
    """Its session has ended, and the lock of its number with it."""
    made = await house.enqueue(organisation.id, "note")
    await house.rows(OF_THE_DEAD, made.id, 5)
    async with house.working(JobKind("note", Steps())) as workers:
        await _old_enough(workers, clock)
        row = await house.becomes(made.id, "completed")
    assert row["attempt"] == 2


async def test_job_that_takes_its_workers_with_it_ends_as_failed(
    house: House, organisation: Organisation, clock: ManualClock
):
    """A lost worker counts as an attempt."""
    made = await house.enqueue(organisation.id, "note")
    await house.rows(OF_THE_DEAD, made.id, 1)
    async with house.working(JobKind("note", Steps())) as workers:
        await _old_enough(workers, clock)
        row = await house.becomes(made.id, "failed")
    assert error_of(row)["code"] == "WORKER_LOST"


async def test_after_an_outage_who_is_back_first_takes_nothing_from_the_others(
    house: House, organisation: Organisation, clock: ManualClock
):
    """All sessions were lost at once; the job is not done twice, nor given up for an attempt that was its last."""
    early_clock, gate = ManualClock(), asyncio.Event()
    early, steps = replace(house, clock=early_clock, workers=[]), Steps(gate=gate)
    async with house.working(JobKind("note", steps)) as late, early.working(JobKind("other", Steps())) as first:
        made = await house.enqueue(organisation.id, "note", max_attempts=1)
        await eventually(steps.has_run(1))
        await eventually(lambda: first.holds_all)
        await _end_sessions(house, first, late)
        await eventually(lambda: _advance_until(first, early_clock))
        # It has looked for what others left before it did this.
        await early.becomes((await early.enqueue(organisation.id, "other")).id, "completed")
        assert await house.status(made.id) == "running"
        await eventually(lambda: _advance_until(late, clock))
        gate.set()
        row = await house.becomes(made.id, "completed")
    assert (row["attempt"], len(steps.runs)) == (1, 1)


async def _old_enough(workers: Workers, clock: ManualClock) -> None:
    await eventually(lambda: workers.holds_all)
    await clock.advance(RETURN_SECONDS)


async def test_drained_worker_gives_back_what_it_has_and_that_is_no_attempt(house: House, organisation: Organisation):
    """Another takes it at once, and what fails there is its first attempt."""
    steps = Steps(gate=asyncio.Event())
    async with house.working(JobKind("note", steps)) as workers:
        made = await house.enqueue(organisation.id, "note", max_attempts=1)
        await eventually(steps.has_run(1))
        await workers.drain(0)
        row = await house.job(made.id)
        assert (row["status"], row["attempt"], row["released"], row["worker"]) == ("queued", 1, 1, None)
        other = await house.enqueue(organisation.id, "note")
        async with house.working(JobKind("note", Steps())):
            for each in (made, other):
                await house.becomes(each.id, "completed")
    assert len(steps.runs) == 1
    assert workers.ended == {("note", "released"): 1}


async def test_drain_lets_what_ends_in_time_end(house: House, organisation: Organisation, clock: ManualClock):
    """The others go back when the time is over."""
    gate = asyncio.Event()
    soon, late = Steps(gate=gate), Steps(gate=asyncio.Event())
    async with house.working(JobKind("soon", soon), JobKind("late", late)) as workers:
        made = [await house.enqueue(organisation.id, kind) for kind in ("soon", "late")]
        await eventually(lambda: soon.runs and late.runs)
        draining = asyncio.create_task(workers.drain(10))
        gate.set()
        await house.becomes(made[0].id, "completed")
        assert not draining.done()
        await clock.advance(10)
        await draining
        assert await house.status(made[1].id) == "queued"


async def test_workers_that_are_cancelled_give_back_too(house: House, organisation: Organisation):
    """A node that gives up, without a drain."""
    steps = Steps(gate=asyncio.Event())
    async with house.working(JobKind("note", steps)):
        made = await house.enqueue(organisation.id, "note")
        await eventually(steps.has_run(1))
    assert (await house.job(made.id))["status"] == "queued"
    assert steps.ended == 1


async def test_lost_session_is_followed_by_another_and_jobs_go_on(
    house: House, organisation: Organisation, clock: ManualClock
):
    """Where nobody else took them meanwhile: the number is the same."""
    gate = asyncio.Event()
    steps = Steps(gate=gate)
    async with house.working(JobKind("note", steps)) as workers:
        made = await house.enqueue(organisation.id, "note")
        await eventually(steps.has_run(1))
        await _end_sessions(house, workers)
        await eventually(lambda: _advance_until(workers, clock))
        gate.set()
        row = await house.becomes(made.id, "completed")
    assert (row["attempt"], len(steps.runs)) == (1, 1)


async def _end_sessions(house: House, *lost: Workers) -> None:
    """End the sessions of all workers, and wait until these have noticed."""
    login = await asyncpg.connect(house.url)
    try:
        assert len(await login.fetch(END_SESSIONS, LOCK_CLASS)) == len(lost)
    finally:
        await login.close()
    for workers in lost:
        workers.poke()
        await eventually(lambda workers=workers: not workers.holds_all)


async def _advance_until(workers: Workers, clock: ManualClock) -> bool:
    if not workers.holds_all:
        await clock.advance(1)
    return workers.holds_all


async def test_two_workers_do_each_job_once(house: House, organisation: Organisation):
    """Claims never meet."""
    made = [await house.enqueue(organisation.id, "note", number) for number in range(200)]
    one, two = Steps(), Steps()
    async with house.working(JobKind("note", one)), house.working(JobKind("note", two)):
        await eventually(lambda: len(one.runs) + len(two.runs) >= 200)
        for each in made[-5:]:
            await house.becomes(each.id, "completed")
    assert sorted(run.payload for run in one.runs + two.runs) == list(range(200))


async def test_kinds_that_a_worker_does_not_know_wait_for_one_that_does(house: House, organisation: Organisation):
    """During a deploy the release before leaves alone what it cannot do."""
    new = await house.enqueue(organisation.id, "new")
    old = await house.enqueue(organisation.id, "old")
    async with house.working(JobKind("old", Steps())):
        await house.becomes(old.id, "completed")
        assert await house.status(new.id) == "queued"
        async with house.working(JobKind("new", Steps())):
            await house.becomes(new.id, "completed")
