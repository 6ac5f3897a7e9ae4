"""Partitions come ahead and go when they are over; queries read those that they are about; a deleted twin's points go."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from core.clock import SystemClock
from core.jobs.jobs import Jobs
from core.jobs.workers import Workers
from core.store.database import Database, connect_as
from handlers.twins.operations import Twins
from handlers.twins.purging import Purging, purging
from handlers.twins.telemetry.keeping import AHEAD_DAYS, drop_old, make_ahead
from handlers.twins.telemetry.models import QueryTelemetry
from handlers.twins.telemetry.purging import purge_telemetry
from handlers.twins.telemetry.series import planned
from handlers.twins.telemetry.storing import SQL
from tests.handlers.house import refused
from tests.handlers.twins.telemetry.station import KEEPING, Station
from tests.harness.clock import ManualClock
from tests.harness.waiting import eventually

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
TABLES = ("telemetry", "telemetry_seconds", "telemetry_minutes", "telemetry_hours")


async def parts(station: Station, table: str) -> list[str]:
    rows = await station.rows(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = $1::regclass ORDER BY 1", table
    )
    return [row["name"] for row in rows]


async def test_partitions_are_made_ahead_and_once(station: Station):
    system = Database(station.url, role="hub_system", size=2)
    clock = ManualClock(NOW)
    made = await asyncio.gather(make_ahead(system, clock), make_ahead(system, clock))
    assert sorted(made) == [0, 2 * (AHEAD_DAYS + 1) + 2]
    assert await parts(station, "telemetry") == [f"telemetry_202606{day}" for day in (15, 16, 17, 18)]
    assert await parts(station, "telemetry_hours") == ["telemetry_hours_20260101"]
    await system.close()


async def test_what_is_over_is_dropped_each_after_its_own_time(station: Station, clock: ManualClock):
    twin = await station.twin()
    await station.append(twin, station.point(1, -86_400 * 25), station.point(2, 0))
    system = Database(station.url, role="hub_system", size=2)
    assert await drop_old(system, clock, KEEPING) == 0
    clock.jump(86_400 * 10)
    assert await drop_old(system, clock, KEEPING) == 2  # a day of points, and of seconds
    assert [len(await parts(station, table)) for table in TABLES] == [1, 1, 2, 2]
    assert (await station.series(twin, "1h", begin=-86_400 * 40, end=0, points=1000))[0]["last"] == 1.0
    await system.close()


async def test_a_table_in_use_is_left_for_the_next_time(station: Station, clock: ManualClock):
    twin = await station.twin()
    await station.append(twin, station.point(1, 0))
    clock.jump(86_400 * 40)
    system = Database(station.url, role="hub_system", size=2)
    reader = await connect_as(station.url, "hub_app")
    await reader.execute("BEGIN; SELECT count(*) FROM telemetry")
    assert await drop_old(system, clock, KEEPING) == 1  # of seconds
    await reader.close()
    assert await drop_old(system, clock, KEEPING) == 1
    await system.close()


@pytest.mark.parametrize(
    ("hours", "points", "step", "rollup"),
    [
        (1 / 60, 500, 1, "seconds"),
        (1, 500, 8, "seconds"),
        (24, 500, 180, "minutes"),
        (24 * 20, 100, 18_000, "hours"),
        (24 * 40, 1000, 3480, "minutes"),
        (24 * 2000, 1000, 176_400, "hours"),
        (24, 2, 43_200, "hours"),
    ],
)
def test_auto_reads_the_coarsest_rollup_that_is_fine_enough(hours: float, points: int, step: int, rollup: str):
    wanted = QueryTelemetry.model_validate(
        {"id": "x", "metric": "heat", "from": NOW - timedelta(hours=hours), "to": NOW, "points": points}
    )
    plan = planned(wanted, NOW, KEEPING)
    assert (plan.step, plan.query) == (
        step,
        {"seconds": SQL["seconds"], "minutes": SQL["minutes"], "hours": SQL["hours"]}[rollup],
    )
    buckets = (plan.ends - plan.begins) / timedelta(seconds=plan.step)
    assert buckets <= points
    assert plan.begins <= NOW - timedelta(hours=hours)
    assert plan.ends >= NOW


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"from": "2026-01-01T00:00:00Z", "to": "2025-12-31T00:00:00Z"}, "from"),
        ({"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T01:00:00Z", "step": "1s"}, "step"),
        ({"from": "1971-01-01T00:00:00Z", "to": "2999-01-01T01:00:00Z"}, "from"),
        ({"points": 1}, "points"),
        ({"points": 1001}, "points"),
        ({"step": "2s"}, "step"),
        ({"from": "yesterday"}, "from"),
        ({"metric": ",".join(f"m{number}" for number in range(11))}, "metric"),
    ],
)
async def test_a_query_that_cannot_be_answered_is_refused(station: Station, query: dict[str, Any], field: str):
    twin = await station.twin()
    error = await refused(station.run("telemetry.query", **{"id": twin, "metric": "heat", **query}))
    assert (error.code, [each.field for each in error.details]) == ("VALIDATION_ERROR", [field])


async def test_wider_steps_sum_up_what_is_in_them(station: Station):
    twin = await station.twin()
    await station.append(twin, *(station.point(second, second - 600) for second in range(600)))
    series = await station.series(twin, "auto", begin=-600, end=0, points=10)
    assert sum(each["count"] for each in series) == 600
    assert (series[0]["min"], series[-1]["max"], series[-1]["last"]) == (0.0, 599.0, 599.0)
    assert len(series) <= 10


async def test_a_query_reads_only_the_partitions_that_it_is_about(station: Station):
    twin = await station.twin()
    days = [station.point(1, -86_400 * day) for day in range(25)]
    await station.append(twin, *days)
    connection = await connect_as(station.url, "hub_app")
    try:
        await connection.execute("SELECT set_config('hub.org_id', $1, false)", str(station.caller.org_id))
        begin, end = station.moment(-3600), station.moment(0)
        args = (twin, ["heat"], begin, end, timedelta(seconds=60))
        rows = await connection.fetch(f"EXPLAIN (ANALYZE, TIMING OFF) {SQL['seconds']}", *args)
        plan = "\n".join(row[0] for row in rows)
        assert plan.count(" on telemetry_seconds_") == 1, plan
        assert "Index" in plan
        args = (twin, ["heat"], station.moment(-86_400 * 24), end, timedelta(hours=24))
        rows = await connection.fetch(f"EXPLAIN (ANALYZE, TIMING OFF) {SQL['hours']}", *args)
        assert "\n".join(row[0] for row in rows).count(" on telemetry_hours_") == 1
    finally:
        await connection.close()


async def test_a_deleted_twins_telemetry_is_removed_by_a_job(station: Station):
    clock = SystemClock()
    twin, other = await station.twin(), await station.twin()
    for each in (twin, other):
        await station.append(each, *(station.point(1, -number) for number in range(50)))
    database, system = Database(station.url, role="hub_app", size=4), Database(station.url, role="hub_system", size=2)
    jobs = Jobs(clock, lambda: None)
    (delete,) = [each for each in Twins(Purging(jobs)).operations() if each.name == "twins.delete"]
    await station._runner.run(delete, station.caller, {"id": twin}, request_id="r")  # pyright: ignore[reportPrivateUsage]
    workers = Workers(station.url, database, system, [purging([purge_telemetry])], clock)
    working = asyncio.create_task(workers.run())
    try:
        left = " UNION ALL ".join(f"SELECT DISTINCT twin_id FROM {table}" for table in TABLES)  # noqa: S608 - tables of ours

        async def is_gone() -> bool:
            return {str(row["twin_id"]) for row in await station.rows(left)} == {other}

        await eventually(is_gone, within=30)
    finally:
        working.cancel()
        await asyncio.wait({working})
        await database.close()
        await system.close()
    assert orjson.loads((await station.run("telemetry.latest", id=other)).body)["metrics"]
