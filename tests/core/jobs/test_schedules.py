"""Schedules: each time makes one job, over changes of clocks, restarts and several processes."""

import asyncio
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSimError

from core.jobs.figures import Figures, JobFigures
from core.jobs.kind import JobKind
from core.jobs.retention import ENDED_DAYS, FAILED_DAYS, JobRetention
from core.jobs.schedules import Schedule
from tests.core.jobs.house import House, Steps
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation
from tests.harness.waiting import eventually

BERLIN = ZoneInfo("Europe/Berlin")


def times(schedule: Schedule, after: datetime, count: int) -> list[str]:
    found: list[str] = []
    for _ in range(count):
        after = schedule.next_after(after)
        assert after.tzinfo is UTC
        found.append(after.astimezone(BERLIN).strftime("%d %H:%M %Z"))
    return found


def test_daily_time_comes_once_a_day_when_clocks_go_forward():
    """02:30 does not exist on 29 March 2026 in Berlin: then it is as soon as the gap ends."""
    daily = Schedule("x", "x", cron="30 2 * * *", zone="Europe/Berlin")
    begin = datetime(2026, 3, 27, 12, tzinfo=UTC)
    assert times(daily, begin, 3) == ["28 02:30 CET", "29 03:00 CEST", "30 02:30 CEST"]


def test_daily_time_comes_once_a_day_when_clocks_go_back():
    """02:30 is twice on 25 October 2026 in Berlin: the first one is meant."""
    daily = Schedule("x", "x", cron="30 2 * * *", zone="Europe/Berlin")
    begin = datetime(2026, 10, 23, 12, tzinfo=UTC)
    assert times(daily, begin, 3) == ["24 02:30 CEST", "25 02:30 CEST", "26 02:30 CET"]


def test_every_half_hour_goes_by_time_that_passes():
    """Through the hour that comes twice, and over the one that does not come."""
    often = Schedule("x", "x", cron="*/30 * * * *", zone="Europe/Berlin")
    begin = datetime(2026, 10, 25, 0, 15, tzinfo=UTC)
    assert times(often, begin, 4) == ["25 02:30 CEST", "25 02:00 CET", "25 02:30 CET", "25 03:00 CET"]
    begin = datetime(2026, 3, 29, 0, 15, tzinfo=UTC)
    assert times(often, begin, 3) == ["29 01:30 CET", "29 03:00 CEST", "29 03:30 CEST"]


def test_rule_that_is_none_is_refused_where_it_is_written():
    """Not in the night in which it is first looked at."""
    with pytest.raises(CronSimError):
        Schedule("x", "x", cron="61 * * * *")
    with pytest.raises(ValueError, match="either"):
        Schedule("x", "x")
    with pytest.raises(ValueError, match="either"):
        Schedule("x", "x", every=1, cron="* * * * *")


async def test_time_that_has_come_makes_one_job_for_all_processes(house: House, clock: ManualClock):
    """It is the hub's own: of no organisation."""
    one, two = Steps(), Steps()
    schedule = Schedule("tidy", "tidy", payload={"a": 1}, every=60)
    async with (
        house.working(JobKind("tidy", one), schedules=[schedule]),
        house.working(JobKind("tidy", two), schedules=[schedule]),
    ):
        for runs in (1, 2, 3):
            await eventually(lambda: house.poke() or len(one.runs) + len(two.runs) >= runs)  # noqa: B023 - asked at once
            rows = await eventually(lambda: _all_completed(house))
            assert len(rows) == runs
            await clock.advance(60)
    assert {(run.org_id, run.payload["a"]) for run in one.runs + two.runs} == {(None, 1)}


async def _all_completed(house: House) -> list[str]:
    house.poke()
    rows = [row["status"] for row in await house.rows("SELECT status FROM jobs")]
    return rows if set(rows) == {"completed"} else []


async def test_times_that_nobody_was_there_for_are_made_up_for_once(house: House, clock: ManualClock):
    """After a night without workers one job is made, not one for each hour."""
    steps = Steps()
    schedule = Schedule("tidy", "tidy", every=60)
    for runs in (1, 2):
        async with house.working(JobKind("tidy", steps), schedules=[schedule]):
            await house.eventually(steps.has_run(runs))
            await eventually(lambda: _all_completed(house))
        await clock.advance(8 * 3600)
    assert len(steps.runs) == 2


async def test_time_is_skipped_while_the_last_job_runs(house: House, clock: ManualClock):
    """What takes longer than the time between does not pile up."""
    gate = asyncio.Event()
    steps = Steps(gate=gate)
    async with house.working(JobKind("tidy", steps), schedules=[Schedule("tidy", "tidy", every=60)]):
        await house.eventually(steps.has_run(1))
        await clock.advance(60)

        async def skipped() -> bool:
            house.poke()
            (row,) = await house.rows("SELECT next_at FROM schedules")
            return row["next_at"] > clock.now()

        await eventually(skipped)
        assert len(await house.rows("SELECT 1 FROM jobs")) == 1
        gate.set()
        await eventually(lambda: _all_completed(house))
        await clock.advance(60)
        await house.eventually(steps.has_run(2))


async def test_clock_that_was_ahead_stops_no_schedule(house: House, clock: ManualClock):
    """Once it is set right, the next time is not a year away."""
    steps = Steps()
    async with house.working(JobKind("tidy", steps), schedules=[Schedule("tidy", "tidy", every=60)]):
        for runs, days in ((1, 365), (2, -365), (3, 0)):
            await house.eventually(steps.has_run(runs))
            await eventually(lambda: _all_completed(house))
            clock.jump(days * 86400)
            await clock.advance(60)
        await house.eventually(steps.has_run(4))


async def test_another_rule_begins_anew(house: House, clock: ManualClock):
    """The same one goes on where it was."""
    daily = Schedule("tidy", "tidy", cron="0 4 * * *")
    async with house.working(JobKind("tidy", Steps()), schedules=[daily]) as workers:
        await eventually(lambda: workers.holds_all)
    (row,) = await house.rows("SELECT next_at FROM schedules")
    assert row["next_at"] == daily.next_after(clock.now())
    await clock.advance(3600)
    for schedule, due in ((daily, row["next_at"]), (Schedule("tidy", "tidy", cron="0 5 * * *"), None)):
        async with house.working(JobKind("tidy", Steps()), schedules=[schedule]) as workers:
            await eventually(lambda: workers.holds_all)
        (found,) = await house.rows("SELECT next_at FROM schedules")
        assert found["next_at"] == (due or schedule.next_after(clock.now()))


async def test_ended_jobs_are_removed_after_their_days(house: House, organisation: Organisation, clock: ManualClock):
    """Those that failed are kept longer; what has not ended stays."""
    for status, days in (
        ("completed", ENDED_DAYS + 1),
        ("cancelled", ENDED_DAYS + 1),
        ("completed", ENDED_DAYS - 1),
        ("failed", FAILED_DAYS + 1),
        ("failed", ENDED_DAYS + 1),
    ):
        made = await house.enqueue(organisation.id, "note")
        finished_at = clock.now() - timedelta(days=days)
        await house.rows("UPDATE jobs SET status = $2, finished_at = $3 WHERE id = $1", made.id, status, finished_at)
    await house.enqueue(organisation.id, "note")
    assert await JobRetention(house.system, clock).sweep() == 3
    assert await JobRetention(house.system, clock).sweep() == 0
    left = await house.rows("SELECT status FROM jobs ORDER BY status")
    assert [row["status"] for row in left] == ["completed", "failed", "queued"]


async def test_figures_say_what_waits_and_runs(house: House, organisation: Organisation, clock: ManualClock):
    """Of all organisations and workers; a kind that has nothing left stays, with zeros."""
    steps = Steps(gate=asyncio.Event())
    figures = JobFigures(house.system, clock)
    async with house.working(JobKind("note", steps, concurrency=1)):
        await house.enqueue(organisation.id, "note")
        await house.eventually(steps.has_run(1))
        await house.enqueue(organisation.id, "note")
        await house.enqueue(organisation.id, "note", run_at=clock.now() + timedelta(hours=1))
        await clock.advance(5)
        await figures.look()
        assert figures.by_kind == {"note": Figures(2, 1, 5.0)}
    await house.rows("DELETE FROM jobs")
    await figures.look()
    assert figures.by_kind == {"note": Figures(0, 0, 0.0)}
