"""Making jobs: with what they belong to or not at all, one of a key, each its organisation's own."""

from datetime import timedelta

import pytest

from core.jobs.kind import JobKind
from core.store.database import Database
from tests.core.jobs.house import House, Steps
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation, Organisations
from tests.harness.waiting import eventually


async def test_job_of_a_transaction_that_is_rolled_back_does_not_exist(house: House, organisation: Organisation):
    """A job exists if and only if what it belongs to was committed."""

    async def fail() -> None:
        async with house.database.transaction(organisation.id) as db:
            await house.jobs.enqueue(db, organisation.id, "note", 1)
            raise ValueError("after it")

    with pytest.raises(ValueError, match="after it"):
        await fail()
    assert await house.rows("SELECT 1 FROM jobs") == []


async def test_job_is_done_once_and_its_result_kept(house: House, organisation: Organisation):
    """What the handler returns is the job's result."""
    steps = Steps()
    async with house.working(JobKind("note", steps)):
        made = await house.enqueue(organisation.id, "note", {"n": 7})
        row = await house.becomes(made.id, "completed")
    assert (row["result"], row["attempt"], row["error"]) == ('{"of":{"n":7}}', 1, None)
    assert row["started_at"] == row["finished_at"] == house.clock.now()
    assert len(steps.runs) == 1


async def test_key_has_one_pending_job(house: House, organisation: Organisation, organisations: Organisations):
    """While one is queued or running it is returned; afterwards there may be another. Organisations do not share keys."""
    first = await house.enqueue(organisation.id, "note", key="k")
    again = await house.enqueue(organisation.id, "note", key="k")
    assert (first.is_new, again.is_new, again.id) == (True, False, first.id)
    other = await organisations.create()
    assert (await house.enqueue(other.id, "note", key="k")).is_new
    assert (await house.enqueue(organisation.id, "other", key="k")).is_new
    async with house.working(JobKind("note", Steps())):
        await house.becomes(first.id, "completed")
    assert (await house.enqueue(organisation.id, "note", key="k")).is_new


async def test_job_waits_for_its_time(house: House, organisation: Organisation, clock: ManualClock):
    """It is done when `run_at` has come, without a poke."""
    steps = Steps()
    async with house.working(JobKind("note", steps)):
        later = await house.enqueue(organisation.id, "note", run_at=clock.now() + timedelta(seconds=90))
        now = await house.enqueue(organisation.id, "note")
        await house.becomes(now.id, "completed")
        assert await house.status(later.id) == "queued"
        await clock.advance(90)

        async def is_done() -> bool:
            await clock.advance(1)
            return len(steps.runs) == 2

        await eventually(is_done)


async def test_higher_priority_of_an_organisation_goes_first(house: House, organisation: Organisation):
    """Then the older."""
    for name, priority in (("a", 0), ("b", 5), ("c", 0), ("d", 9)):
        await house.enqueue(organisation.id, "note", name, priority=priority)
    steps = Steps()
    async with house.working(JobKind("note", steps, concurrency=1)):
        await eventually(steps.has_run(4))
    assert [run.payload for run in steps.runs] == ["d", "b", "a", "c"]


async def test_organisation_sees_and_makes_its_own_jobs_only(
    house: House, organisation: Organisation, organisations: Organisations
):
    """Row-level security holds for jobs too."""
    other = await organisations.create()
    await house.enqueue(organisation.id, "note")
    async with house.database.read(other.id) as db:
        assert await db.fetchval("SELECT count(*) FROM jobs") == 0
    with pytest.raises(Exception, match="row-level security"):
        await _enqueue_for_another(house.database, house, other, organisation)


async def _enqueue_for_another(
    database: Database, house: House, other: Organisation, organisation: Organisation
) -> None:
    async with database.transaction(other.id) as db:
        await house.jobs.enqueue(db, organisation.id, "note", 1)
