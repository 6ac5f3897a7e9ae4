"""Points are kept, summed up and counted once, whatever comes twice, late, wrong, or from two nodes at once."""

import asyncio
import math
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import asyncpg
import orjson
import pytest

from core.pressure import RETRY_SECONDS, Part
from core.store.database import connect_as
from handlers.twins.telemetry.storing import MOST_METRICS
from tests.handlers.house import refused
from tests.handlers.twins.telemetry.station import Station, opened
from tests.harness.organisations import Organisations
from tests.harness.waiting import eventually

UNITS = {"seconds": timedelta(seconds=1), "minutes": timedelta(minutes=1), "hours": timedelta(hours=1)}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def check_sums(station: Station) -> int:
    """Check that each rollup is what the points that are kept sum up to; return how many points that are."""
    points = await station.rows("SELECT * FROM telemetry ORDER BY time")
    for table, unit in UNITS.items():
        wanted: dict[Any, list[float]] = defaultdict(list)
        for row in points:
            begins = EPOCH + (row["time"] - EPOCH) // unit * unit
            wanted[row["twin_id"], row["metric"], begins].append(row["value"])
        found = await station.rows(f"SELECT * FROM telemetry_{table}")  # noqa: S608 - a table of ours
        assert len(found) == len(wanted)
        for row in found:
            values = wanted[row["twin_id"], row["metric"], row["time"]]
            assert (row["count"], row["min"], row["max"], row["last"]) == (
                len(values),
                min(values),
                max(values),
                values[-1],
            )
            assert math.isclose(row["sum"], math.fsum(values), abs_tol=1e-6)
    return len(points)


async def test_what_is_appended_is_found_summed_up(station: Station):
    twin = await station.twin()
    await station.append(twin, station.point(1, -3600), station.point(2, -3599.5), station.point(6, -3540))
    by_second = await station.series(twin, "1s", begin=-3600, end=-3500)
    assert [(each["count"], each["avg"], each["last"]) for each in by_second] == [(2, 1.5, 2.0), (1, 6.0, 6.0)]
    (hour,) = await station.series(twin, "1h", begin=-3600, end=0)
    assert hour == {"time": station.at(-3600), "count": 3, "avg": 3.0, "min": 1.0, "max": 6.0, "last": 6.0}
    assert await station.latest(twin) == {"heat": {"value": 6.0, "time": station.at(-3540)}}


async def test_without_names_a_query_is_about_all_metrics(station: Station):
    twin = await station.twin()
    await station.append(twin, station.point(1, -60), station.point(2, -60, "speed"))
    answer = orjson.loads((await station.run("telemetry.query", id=twin)).body)
    assert {metric: len(buckets) for metric, buckets in answer["series"].items()} == {"heat": 1, "speed": 1}


async def test_a_point_without_a_time_is_of_now(station: Station):
    twin = await station.twin()
    await station.append(twin, {"metric": "heat", "value": 3})
    assert await station.latest(twin) == {"heat": {"value": 3.0, "time": station.at(0)}}


async def test_a_node_with_too_much_to_do_takes_no_points_of_one_or_of_many_twins(station: Station):
    """With publishes, the last that goes; nothing of them is kept, and who asks what was measured is answered."""
    twin = await station.twin()
    await station.append(twin, station.point(1, -60))
    station.pressure.look({"work": Part.PUBLISHES})
    point = station.point(2, -30)
    for name, given in (
        ("telemetry.append", {"id": twin, "points": [point]}),
        ("telemetry.append_many", {"points": [{"twin_id": twin, **point}]}),
    ):
        error = await refused(station.run(name, **given))
        assert error.code == "SERVICE_UNAVAILABLE"
        assert error.retry_after is not None
        assert error.retry_after >= RETRY_SECONDS
    assert station.pressure.refused[Part.PUBLISHES] == 2
    assert (await station.latest(twin))["heat"]["value"] == 1.0
    assert await check_sums(station) == 1


async def test_a_repeated_point_takes_the_place_of_the_first_and_counts_once(station: Station):
    twin = await station.twin()
    await station.append(twin, station.point(1, -60), station.point(5, -59))
    await station.append(twin, station.point(9, -59), station.point(2, -58))
    await station.append(twin, station.point(9, -59), station.point(9, -59))
    (hour,) = await station.series(twin, "1h", begin=-3600, end=0)
    assert (hour["count"], hour["avg"], hour["min"], hour["max"], hour["last"]) == (3, 4.0, 1.0, 9.0, 2.0)
    assert await check_sums(station) == 3


async def test_of_one_request_the_last_of_a_metric_and_time_counts(station: Station):
    twin = await station.twin()
    await station.append(twin, station.point(1, -60), station.point(2, -60))
    assert (await station.series(twin, "1s", begin=-60, end=-59))[0]["last"] == 2.0
    assert await check_sums(station) == 1


async def test_late_points_do_not_become_the_newest(station: Station):
    twin = await station.twin()
    await station.append(twin, station.point(7, -10))
    await eventually(lambda: len(station.rooms.said) == 1)
    await station.append(twin, station.point(1, -86_400 * 20), station.point(2, -20, "other"))
    assert (await station.latest(twin))["heat"]["value"] == 7.0
    await eventually(lambda: len(station.rooms.said) == 2)
    assert list(station.rooms.said[1][1]) == ["other"]
    assert await check_sums(station) == 3


@pytest.mark.parametrize(
    ("seconds", "is_taken"), [(299, True), (301, False), (-86_400 * 30 + 60, True), (-86_400 * 30 - 60, False)]
)
async def test_points_of_the_future_and_of_the_distant_past_are_refused_by_index_and_all(
    station: Station, seconds: float, is_taken: bool
):
    twin = await station.twin()
    points = [station.point(1, 0), station.point(2, seconds)]
    if is_taken:
        await station.append(twin, *points)
    else:
        error = await refused(station.run("telemetry.append", id=twin, points=points))
        assert error.code == "VALIDATION_ERROR"
        assert [(each.field, each.code) for each in error.details] == [("points[1].time", "VALUE_OUT_OF_RANGE")]
    assert await check_sums(station) == (2 if is_taken else 0)


@pytest.mark.parametrize(
    ("point", "field", "code"),
    [
        ({"metric": "heat", "value": math.nan}, "points[0].value", "VALUE_OUT_OF_RANGE"),
        ({"metric": "heat", "value": math.inf}, "points[0].value", "VALUE_OUT_OF_RANGE"),
        ({"metric": "heat", "value": 1e301}, "points[0].value", "VALUE_OUT_OF_RANGE"),
        ({"metric": "heat", "value": True}, "points[0].value", "INVALID_FORMAT"),
        ({"metric": "heat", "value": "1"}, "points[0].value", "INVALID_FORMAT"),
        ({"metric": "heat", "value": None}, "points[0].value", "INVALID_FORMAT"),
        ({"metric": "", "value": 1}, "points[0].metric", "INVALID_FORMAT"),
        ({"metric": "a b", "value": 1}, "points[0].metric", "INVALID_FORMAT"),
        ({"metric": "heat\n", "value": 1}, "points[0].metric", "INVALID_FORMAT"),
        ({"metric": "heat"}, "points[0].value", "MISSING_REQUIRED_FIELD"),
        ({"metric": "heat", "value": 1, "time": 17}, "points[0].time", "INVALID_FORMAT"),
        ({"metric": "heat", "value": 1, "time": "2026-01-01T00:00:00"}, "points[0].time", "INVALID_FORMAT"),
        ({"metric": "heat", "value": 1, "time": "0001-01-01T00:00:00+23:00"}, "points[0].time", "VALUE_OUT_OF_RANGE"),
        ({"metric": "heat", "value": 1, "unit": "K"}, "points[0].unit", "INVALID_FORMAT"),
    ],
)
async def test_what_is_no_point_is_refused_by_its_field(station: Station, point: Any, field: str, code: str):
    error = await refused(station.run("telemetry.append", id=await station.twin(), points=[point]))
    assert [(each.field, each.code) for each in error.details] == [(field, code)]


async def test_a_twin_that_is_not_there_and_one_of_others_take_nothing(station: Station, organisations: Organisations):
    other = await organisations.create()
    async with opened(station.url, other.caller(), station.clock) as elsewhere:
        foreign = await elsewhere.twin()
    own = await station.twin()
    for missing in (foreign, "01978f3e-5a74-7c3d-9b42-6f0d2c1e8a55", "none"):
        error = await refused(station.run("telemetry.append", id=missing, points=[station.point(1, 0)]))
        assert error.code == "RESOURCE_NOT_FOUND"
    points = [{"twin_id": own, **station.point(1, 0)}, {"twin_id": foreign, **station.point(1, 0)}]
    error = await refused(station.run("telemetry.append_many", points=points))
    assert [each.field for each in error.details] == ["points[1].twin_id"]
    for name in ("telemetry.latest", "alerts.list"):
        assert (await refused(station.run(name, id=foreign))).code == "RESOURCE_NOT_FOUND"
    assert await check_sums(station) == 0


async def test_a_caller_of_some_twins_writes_and_reads_only_theirs(station: Station):
    mine, other = await station.twin(), await station.twin()
    caller = replace(station.caller, resource_ids=frozenset({UUID(mine)}))
    points = [{"twin_id": twin, **station.point(1, 0)} for twin in (mine, other)]
    await station.run("telemetry.append_many", caller, points=points[:1])
    error = await refused(station.run("telemetry.append_many", caller, points=points))
    assert [each.field for each in error.details] == ["points[1].twin_id"]
    assert (await refused(station.run("telemetry.latest", caller, id=other))).code == "RESOURCE_NOT_FOUND"


async def test_who_is_at_fault_fails_alone_of_those_that_go_together(station: Station):
    """Both wait for one transaction; the one that cannot be stored takes nobody with it."""
    twin = await station.twin()
    good = [station.append(twin, station.point(number, -number)) for number in range(20)]
    bad = refused(
        station.run("telemetry.append", id="01978f3e-5a74-7c3d-9b42-6f0d2c1e8a55", points=[station.point(1, 0)])
    )
    *_, error = await asyncio.gather(*good, bad)
    assert error is not None
    assert error.code == "RESOURCE_NOT_FOUND"
    assert await check_sums(station) == 20


async def test_a_twin_has_a_bounded_number_of_metrics(station: Station):
    twin = await station.twin()
    points = [station.point(1, 0, f"m{number}") for number in range(MOST_METRICS)]
    await station.append(twin, *points)
    error = await refused(station.run("telemetry.append", id=twin, points=[*points[:5], station.point(1, 0, "more")]))
    assert error.code == "VALIDATION_ERROR"
    assert len(await station.latest(twin)) == MOST_METRICS


async def test_two_nodes_agree_on_what_both_write_at_once(station: Station):
    """Many writers on two nodes, with repeats across both: nothing is lost, nothing counts twice, nobody waits in a circle."""
    random = Random(5)
    twins = [await station.twin() for _ in range(5)]
    async with opened(station.url, station.caller, station.clock) as second:

        async def write(node: Station, seed: int) -> None:
            own = Random(seed)
            for _ in range(10):
                points = [
                    {"twin_id": own.choice(twins), **station.point(own.randint(0, 99), -own.randint(0, 300) / 2)}
                    for _ in range(40)
                ]
                await node.run("telemetry.append_many", points=points)

        await asyncio.gather(*(write(random.choice((station, second)), seed) for seed in range(12)))
        for twin in twins:
            assert await station.latest(twin) == await second.latest(twin)
    assert await check_sums(station) > 500


async def test_partitions_are_reached_by_their_table_only(station: Station, organisations: Organisations):
    """Row-level security holds on the table; a partition itself is closed to the application."""
    twin = await station.twin()
    await station.append(twin, station.point(1, 0))
    (part,) = await station.rows(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'telemetry'::regclass"
    )
    other = await organisations.create()
    connection = await connect_as(station.url, "hub_app")
    try:
        assert await connection.fetchval("SELECT count(*) FROM telemetry") == 0
        await connection.execute("SELECT set_config('hub.org_id', $1, false)", str(other.id))
        assert await connection.fetchval("SELECT count(*) FROM telemetry") == 0
        await connection.execute("SELECT set_config('hub.org_id', $1, false)", str(station.caller.org_id))
        assert await connection.fetchval("SELECT count(*) FROM telemetry") == 1
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetchval(f"SELECT count(*) FROM {part['name']}")  # noqa: S608 - a table of ours
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetchval("SELECT drop_telemetry('telemetry', now())")
    finally:
        await connection.close()
