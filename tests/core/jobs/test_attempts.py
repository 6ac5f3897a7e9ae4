"""Attempts: failures wait and come again, the last one is the end, ends come from outside, what was lost writes nothing."""

import asyncio
import random
from datetime import timedelta
from typing import Any

import pytest

from core.errors import HubError
from core.jobs.kind import LEASE_SECONDS, JobFailed, JobKind, RetryPolicy
from core.jobs.run import JobLost, JobRun
from tests.core.jobs.house import House, Steps, error_of, seconds_until
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation
from tests.harness.waiting import eventually

BEAT_SECONDS = LEASE_SECONDS / 5
EVENT = """
INSERT INTO outbox (org_id, event_id, type, subject, channel, time, envelope)
VALUES (current_org(), gen_random_uuid(), 'job.done', $1, 'agents:x', now(), $2)
"""


def test_waits_grow_up_to_the_longest_and_are_spread():
    """Each is between the share that jitter leaves and the whole."""
    policy = RetryPolicy(first_seconds=2, factor=4, most_seconds=100, jitter=0.5)
    rng = random.Random(1)
    for failures, whole in ((1, 2), (2, 8), (3, 32), (4, 100), (5000, 100)):
        waits = [policy.wait_after(failures, rng) for _ in range(200)]
        assert whole / 2 <= min(waits) < max(waits) <= whole
        assert max(waits) - min(waits) > whole / 4


async def test_failed_attempt_is_tried_again_after_its_wait(
    house: House, organisation: Organisation, clock: ManualClock
):
    """The error stands in the job meanwhile; it goes when the job is completed."""

    async def fails_first(run: JobRun) -> int:
        if run.attempt == 1:
            raise HubError("BAD_GATEWAY", "The vendor is away")
        return run.attempt

    steps = Steps(does=fails_first)
    retry = RetryPolicy(first_seconds=60, jitter=0)
    async with house.working(JobKind("note", steps, retry=retry)) as workers:
        made = await house.enqueue(organisation.id, "note")
        await eventually(lambda: steps.ended == 1)
        row = await house.becomes(made.id, "queued")
        assert error_of(row) == {"code": "BAD_GATEWAY", "message": "The vendor is away"}
        assert seconds_until(row["run_at"], clock.now()) == 60
        await clock.advance(59)
        assert len(steps.runs) == 1
        await clock.advance(1)
        row = await house.becomes(made.id, "completed")
        assert (row["result"], row["error"]) == ("2", None)
        await eventually(lambda: workers.ended == {("note", "retried"): 1, ("note", "completed"): 1})


async def test_last_attempt_is_the_end(house: House, organisation: Organisation, clock: ManualClock):
    """An error of which nobody knows what it says is told by its code alone."""

    async def breaks(_run: JobRun) -> None:
        raise ValueError("a secret")

    retry = RetryPolicy(attempts=3, first_seconds=1, jitter=0)
    steps = Steps(does=breaks)
    async with house.working(JobKind("note", steps, retry=retry)):
        made = await house.enqueue(organisation.id, "note")
        for runs in (1, 2):
            await house.eventually(steps.has_run(runs))
            await house.becomes(made.id, "queued")
            # Not a second more: a whole attempt fits into one advance, and the next would be due within the same.
            await clock.advance(retry.wait_after(runs, random.Random(1)))
        await house.becomes(made.id, "failed")
        row = await house.job(made.id)
    assert (row["attempt"], error_of(row)) == (3, {"code": "INTERNAL_ERROR", "message": ""})
    assert row["finished_at"] is not None


async def test_what_can_never_be_done_is_tried_once(house: House, organisation: Organisation):
    """JobFailed says so; its message is for the organisation."""

    async def cannot(_run: JobRun) -> None:
        raise JobFailed("There is no such model")

    async with house.working(JobKind("note", cannot)):
        made = await house.enqueue(organisation.id, "note")
        row = await house.becomes(made.id, "failed")
    assert (row["attempt"], error_of(row)) == (1, {"code": "JOB_FAILED", "message": "There is no such model"})


async def test_attempt_that_takes_too_long_is_ended(house: House, organisation: Organisation, clock: ManualClock):
    """It counts as failed."""
    steps = Steps(gate=asyncio.Event())
    async with house.working(JobKind("note", steps, most_seconds=5)):
        made = await house.enqueue(organisation.id, "note", max_attempts=1)
        await eventually(steps.has_run(1))
        await clock.advance(6)
        row = await house.becomes(made.id, "failed")
    assert error_of(row)["code"] == "TIMEOUT"
    assert steps.ended == 1


async def test_progress_is_told(house: House, organisation: Organisation):
    """As JSON, while the job runs."""
    gate = asyncio.Event()

    async def tells(run: JobRun) -> None:
        await run.tell({"pages": 3, "of": 10})
        await gate.wait()

    async with house.working(JobKind("note", tells)):
        made = await house.enqueue(organisation.id, "note")
        await eventually(lambda: _has_progress(house, made.id))
        assert (await house.job(made.id))["progress"] == '{"pages":3,"of":10}'
        gate.set()
        await house.becomes(made.id, "completed")


async def _has_progress(house: House, id: Any) -> bool:
    return (await house.job(id))["progress"] is not None


async def test_job_whose_end_was_asked_for_does_not_come_again(house: House, organisation: Organisation):
    """Also where its attempt failed, or went back, before it was told."""

    async def fails(_run: JobRun) -> None:
        raise HubError("BAD_GATEWAY")

    async def waits(_run: JobRun) -> None:
        await asyncio.Event().wait()

    for does, drains in ((fails, False), (waits, True)):
        asked = asyncio.Event()

        async def asked_to_end(run: JobRun, does: Any = does, asked: asyncio.Event = asked) -> None:
            try:
                await house.rows("UPDATE jobs SET cancel_requested_at = now() WHERE id = $1", run.id)
            finally:  # it may be heard, and this be cancelled, before the statement has come back
                asked.set()
            await does(run)

        steps = Steps(does=asked_to_end)
        async with house.working(JobKind("note", steps)) as workers:
            made = await house.enqueue(organisation.id, "note")
            await asked.wait()
            if drains:
                await workers.drain(0)
            row = await house.becomes(made.id, "cancelled")
        assert row["finished_at"] is not None


async def test_running_job_that_is_cancelled_ends(house: House, organisation: Organisation):
    """Its handler's task is cancelled, and the job is so for good."""
    steps = Steps(gate=asyncio.Event())
    async with house.working(JobKind("note", steps)):
        made = await house.enqueue(organisation.id, "note")
        await eventually(steps.has_run(1))
        await house.rows("UPDATE jobs SET cancel_requested_at = now() WHERE id = $1", made.id)
        row = await house.becomes(made.id, "cancelled")
    assert (steps.ended, row["finished_at"] is not None) == (1, True)


async def test_effect_and_end_are_one_transaction(house: House, organisation: Organisation):
    """What is written in `finishing()` is there if and only if the job is completed."""

    async def writes(run: JobRun) -> None:
        async with run.finishing({"done": True}) as db:
            await db.execute(EVENT, f"agents/{run.attempt}", "{}")
            if run.attempt == 1:
                raise HubError("BAD_GATEWAY")

    retry = RetryPolicy(first_seconds=0, jitter=0)
    async with house.working(JobKind("note", writes, retry=retry)):
        made = await house.enqueue(organisation.id, "note")
        row = await house.becomes(made.id, "completed")
    assert row["result"] == '{"done":true}'
    assert [row["subject"] for row in await house.rows("SELECT subject FROM outbox")] == ["agents/2"]


async def test_attempt_that_was_taken_over_writes_nothing(house: House, organisation: Organisation):
    """Neither a transaction, nor progress, nor an end: the number of the attempt is in every write."""
    refused: list[str] = []
    gate, entered = asyncio.Event(), asyncio.Event()

    async def old(run: JobRun) -> None:
        entered.set()
        await gate.wait()
        for name, write in (("transaction", _write), ("finishing", _finish), ("tell", _tell)):
            with pytest.raises(JobLost):
                await write(run)
            refused.append(name)

    async with house.working(JobKind("note", old, concurrency=1)) as first:
        made = await house.enqueue(organisation.id, "note")
        await entered.wait()
        # As that of a worker which stands still; this one has no place for the job a second time.
        await house.let_lease_end(made.id)
        async with house.working(JobKind("note", Steps())):
            row = await house.becomes(made.id, "completed")
            assert row["attempt"] == 2
            gate.set()
            await eventually(lambda: ("note", "completed") in first.ended or ("note", "lost") in first.ended)
        assert first.ended == {("note", "lost"): 1}
    assert refused == ["transaction", "finishing", "tell"]
    assert (await house.job(made.id))["result"] == '{"of":null}'
    assert await house.rows("SELECT 1 FROM outbox") == []


async def _write(run: JobRun) -> None:
    async with run.transaction() as db:
        await db.execute(EVENT, "agents/x", "{}")


async def _finish(run: JobRun) -> None:
    async with run.finishing() as db:
        await db.execute(EVENT, "agents/x", "{}")


async def _tell(run: JobRun) -> None:
    await run.tell(1)


async def test_beats_keep_a_lease(house: House, organisation: Organisation, clock: ManualClock):
    """Also that of a job beside one which its handler holds in a transaction."""
    gate = asyncio.Event()

    async def holds(run: JobRun) -> None:
        async with run.transaction():
            await gate.wait()

    steps = Steps(gate=gate)
    async with house.working(JobKind("holds", holds), JobKind("note", steps)):
        held = await house.enqueue(organisation.id, "holds")
        made = await house.enqueue(organisation.id, "note")
        await eventually(steps.has_run(1))
        await house.let_lease_end(made.id)
        await clock.advance(BEAT_SECONDS)

        async def renewed() -> bool:
            rows = await house.rows(
                "SELECT lease_until > clock_timestamp() + interval '1 s' FROM jobs WHERE id = $1", made.id
            )
            return rows[0][0]

        await house.eventually(renewed)
        gate.set()
        for each in (held, made):
            await house.becomes(each.id, "completed")


async def test_job_that_is_found_lost_is_ended(house: House, organisation: Organisation, clock: ManualClock):
    """A worker does not go on with what another has."""
    steps = Steps(gate=asyncio.Event())
    async with house.working(JobKind("note", steps)):
        made = await house.enqueue(organisation.id, "note")
        await eventually(steps.has_run(1))
        await house.rows(
            "UPDATE jobs SET attempt = attempt + 1, worker = 1, lease_until = now() + interval '1 h' WHERE id = $1",
            made.id,
        )
        await clock.advance(BEAT_SECONDS + timedelta(seconds=1).total_seconds())
        await house.eventually(lambda: steps.ended == 1)
