"""Rules raise and clear: once an edge, with hysteresis and hold, whatever comes late or from several nodes; changes clear."""

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from handlers.twins.telemetry.rules import Rule
from handlers.twins.telemetry.watching import MOST_EDGES, Standing, watched
from tests.handlers.twins.telemetry.station import Station, opened
from tests.harness.clock import ManualClock
from tests.harness.waiting import eventually

HOT = {"name": "too_hot", "metric": "heat", "when": "above", "threshold": 80.0, "hysteresis": 5.0}


def kinds(told: Any) -> list[tuple[str, float]]:
    return [(kind, data["value"]) for kind, data in told]


async def test_a_rule_is_raised_above_and_cleared_below_its_hysteresis(station: Station):
    twin = await station.twin(rules=[{**HOT, "severity": "critical"}])
    for at, value in enumerate((80, 81, 90, 76, 75.5, 75, 79, 82)):
        await station.append(twin, station.point(value, at - 100))
    told = await station.told()
    assert kinds(told) == [("raised", 81.0), ("cleared", 75.0), ("raised", 82.0)]
    assert told[0][1] == {
        "twin_id": twin,
        "rule": "too_hot",
        "metric": "heat",
        "when": "above",
        "threshold": 80.0,
        "severity": "critical",
        "time": station.at(-99),
        "value": 81.0,
    }
    assert told[1][1]["reason"] == "back"
    assert station.pokes == 3
    (alert,) = await station.alerts(twin, status="raised")
    assert (alert["id"], alert["since"], alert["value"]) == ("too_hot", station.at(-93), 82.0)
    assert await station.alerts(twin, status="clear") == []


async def test_points_of_one_write_tell_each_edge(station: Station):
    twin = await station.twin(rules=[HOT])
    await station.append(twin, *(station.point(value, at - 100) for at, value in enumerate((90, 70, 90, 70))))
    assert kinds(await station.told()) == [("raised", 90.0), ("cleared", 70.0), ("raised", 90.0), ("cleared", 70.0)]


async def test_a_rule_with_hold_waits_until_the_metric_has_been_beyond_for_so_long(station: Station):
    twin = await station.twin(rules=[{**HOT, "when": "below", "threshold": 10, "hold": 30}])
    await station.append(twin, station.point(9, -100), station.point(11, -80), station.point(8, -79))
    assert (await station.alerts(twin))[0]["status"] == "pending"
    await station.append(twin, station.point(7, -50))
    assert await station.told() == []
    await station.append(twin, station.point(7, -49))
    assert kinds(await station.told()) == [("raised", 7.0)]


async def test_late_points_raise_nothing(station: Station):
    twin = await station.twin(rules=[HOT])
    await station.append(twin, station.point(90, -50), station.point(70, -40))
    await station.append(twin, station.point(95, -45), station.point(95, -40), station.point(95, -4000))
    assert kinds(await station.told()) == [("raised", 90.0), ("cleared", 70.0)]


async def test_a_new_rule_does_not_judge_what_was_before_it(station: Station):
    twin = await station.twin()
    await station.append(twin, station.point(90, -50))
    await station.run("twins.update", id=twin, body={"rules": [HOT]})
    await station.append(twin, station.point(95, -60))
    assert await station.told() == []
    await station.append(twin, station.point(91, -40))
    assert kinds(await station.told()) == [("raised", 91.0)]


async def test_a_changed_and_a_removed_rule_clear_their_alerts(station: Station):
    cold = {"name": "cold", "metric": "heat", "when": "above", "threshold": 50.0}
    twin = await station.twin(rules=[HOT, cold])
    await station.append(twin, station.point(90, -50))
    await station.run("twins.update", id=twin, body={"status": "other"})
    await station.run("twins.update", id=twin, body={"rules": [{**HOT, "threshold": 85}]})
    told = (await station.told())[2:]
    assert {(kind, data["rule"], data["reason"]) for kind, data in told} == {
        ("cleared", "too_hot", "rule_changed"),
        ("cleared", "cold", "rule_removed"),
    }
    assert [alert["status"] for alert in await station.alerts(twin)] == ["clear"]
    await station.append(twin, station.point(86, -40))
    assert kinds(await station.told())[-1] == ("raised", 86.0)


async def test_alerts_of_a_deleted_twin_go_with_it(station: Station):
    twin = await station.twin(rules=[HOT])
    await station.append(twin, station.point(90, -50))
    await station.run("twins.delete", id=twin)
    assert len(await station.told()) == 1
    assert await station.rows("SELECT FROM alerts UNION ALL SELECT FROM telemetry_latest") == []


async def test_two_nodes_tell_each_edge_once(station: Station):
    """The rule's state is the database's: whichever node stores a point, an edge is told once, and by turns."""
    twin = await station.twin(rules=[HOT])
    async with opened(station.url, station.caller, station.clock) as second:
        for at in range(40):
            both = [(90 if at % 2 else 70, node) for node in (station, second)]
            await asyncio.gather(*(node.append(twin, node.point(value, at - 100)) for value, node in both))
    told = kinds(await station.told())
    assert told == [("raised", 90.0), ("cleared", 70.0)] * 19 + [("raised", 90.0)]


async def test_a_rule_that_changes_while_points_come_is_told_of_once(station: Station):
    twin = await station.twin(rules=[HOT])

    async def write() -> None:
        for at in range(60):
            await station.append(twin, station.point(90 if at % 3 else 70, at - 100))

    async def change() -> None:
        for number in range(10):
            await station.run("twins.update", id=twin, body={"rules": [{**HOT, "threshold": 80.0 + number % 3}]})

    await asyncio.gather(write(), change())
    told = [kind for kind, _ in await station.told()]
    assert told == [("raised", "cleared")[at % 2] for at in range(len(told))]


async def test_rooms_hear_of_the_newest_points(station: Station):
    twin = await station.twin()
    await station.append(twin, station.point(1, -2), station.point(2, -1), station.point(3, -1, "speed"))
    await eventually(lambda: station.rooms.said)
    (said,) = station.rooms.said
    newest = {
        "heat": {"value": 2.0, "time": station.at(-1)},
        "speed": {"value": 3.0, "time": station.at(-1)},
    }
    assert said == (f"twins:{twin}/telemetry", newest)


@given(st.lists(st.floats(0, 100, allow_nan=False), max_size=200), st.floats(0, 30))
def test_whatever_comes_alerts_are_told_by_turns_and_not_too_many(values: list[float], hysteresis: float):
    clock = ManualClock()
    rule = Rule.model_validate({**HOT, "threshold": 50.0, "hysteresis": hysteresis})
    before = Standing(_ID, rule, "", "clear", None, None, clock.now())
    points: list[Any] = []
    for value in values:
        clock.jump(1)
        points.append((clock.now(), value))
    after, edges = watched(before, points)
    assert [edge.is_raised for edge in edges] == [at % 2 == 0 for at in range(len(edges))]
    assert len(edges) <= MOST_EDGES
    assert (after.state == "raised") == (len(edges) % 2 == 1)
    # Bit by bit it is the same.
    standing = before
    for point in points:
        standing, _ = watched(standing, [point])
    assert standing == after


_ID: Any = "01978f3e-5a74-7c3d-9b42-6f0d2c1e8a55"
