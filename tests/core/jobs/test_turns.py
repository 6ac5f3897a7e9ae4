"""Whose job is next: a noisy organisation delays no other."""

import asyncio
from collections import Counter
from uuid import UUID

from core.jobs.kind import JobKind
from core.jobs.turns import Turns
from core.store.database import Connection, connect_as
from tests.core.jobs.house import House, Steps
from tests.harness.organisations import Organisation, Organisations
from tests.harness.waiting import eventually

MANY = """
INSERT INTO jobs (id, org_id, kind, payload, run_at, created_at)
SELECT gen_random_uuid(), $1, $2, '0', $4, $4 FROM generate_series(1, $3::int)
"""


async def enqueue_many(house: House, org_id: UUID, kind: str, count: int) -> None:
    await house.rows(MANY, org_id, kind, count, house.clock.now())


async def test_one_job_beside_ten_thousand_of_another_organisation_is_next(
    house: House, organisations: Organisations, organisation: Organisation
):
    """Though it came last, and all places were taken: it is among the next that are begun."""
    quiet = await organisations.create()
    await enqueue_many(house, organisation.id, "note", 10_000)
    before: list[UUID | None] = []
    held = asyncio.Event()
    steps = Steps(gate=held)
    async with house.working(JobKind("note", steps, concurrency=4)):
        await eventually(steps.has_run(3))
        made = await house.enqueue(quiet.id, "note")
        # A place is kept for others: it begins while the noisy one's are under way.
        await eventually(steps.has_run(4))
        before = [run.org_id for run in steps.runs]
        held.set()
        await house.becomes(made.id, "completed")
    assert before == [organisation.id] * 3 + [quiet.id]


async def test_every_organisation_has_its_turn(house: House, organisations: Organisations):
    """With one place, each of three gets every third, whatever the others have."""
    orgs = [await organisations.create() for _ in range(3)]
    for number, org in enumerate(orgs):
        await enqueue_many(house, org.id, "note", 40 * (number + 1))
    steps = Steps()
    async with house.working(JobKind("note", steps, concurrency=1)):
        await eventually(steps.has_run(90))
    first = Counter(run.org_id for run in steps.runs[:90])
    assert set(first.values()) == {30}


async def test_places_that_others_leave_are_used_but_for_the_share_of_others(house: House, organisation: Organisation):
    """One organisation alone has three quarters; a claim goes round until the places are taken."""
    await enqueue_many(house, organisation.id, "note", 100)
    steps = Steps(gate=asyncio.Event())
    async with house.working(JobKind("note", steps, concurrency=8)) as workers:
        await eventually(steps.has_run(6))
        assert workers.running == 6


async def test_claim_reads_no_more_of_a_long_queue_than_it_takes(house: House, organisation: Organisation):
    """Ten thousand jobs that wait are not looked at."""
    await enqueue_many(house, organisation.id, "note", 10_000)
    connection = await connect_as(house.url, "hub_system", plan_cache_mode="force_generic_plan", enable_seqscan="off")
    try:
        turns = Turns(JobKind("note", Steps(), concurrency=4))
        # The counts of a transaction are exact, and begin with it.
        async with connection.transaction():
            rows = await turns.claim(connection, 1, house.clock.now(), [])
            assert len(rows) == 3
            assert 0 < await _read(connection) < 100
    finally:
        await connection.close()


async def _read(connection: Connection) -> int:
    """Return how many entries of the table's indexes this transaction has read."""
    query = """
    SELECT coalesce(sum(pg_stat_get_xact_tuples_returned(indexrelid)), 0) FROM pg_index WHERE indrelid = 'jobs'::regclass
    """
    (row,) = await connection.fetch(query)
    return int(row[0])
