"""The model keeps what goes in, never asks for less when more is wanted, and finds again what was measured on one node."""

import itertools
import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.capacity import Capacity, Choices, FigureMissing, measured, newest
from benchmarks.joining_queue import MESSAGES, simulate
from benchmarks.report import Column, Figures, Row, Table
from benchmarks.scaling import (
    CONNECTIONS,
    node_busy,
    nodes_of_room,
    plan,
    return_seconds,
    seconds_to_last,
    written,
)

CAPACITY = Capacity(
    machine="a machine",
    write_us=5.0,
    extra_us=0.5,
    message_us=30.0,
    spread=2.0,
    publish_us=80.0,
    resident_bytes=10 * 1024,
    handshakes_per_second=2000.0,
    inbound_per_second=15_000.0,
    log_per_second=3000.0,
    steady_p50_ms=6.0,
    flat_out_per_second=900_000.0,
)
CHOICES = Choices()


def a_run() -> dict[str, Any]:
    """A run with the figures of CAPACITY: a delivery alone costs 5.5 us, of eight joined 1.125."""
    live, log = "**the hub**, live rooms: offsets", "**the hub**, log channel: all"
    figures: dict[str, list[tuple[str, dict[str, float]]]] = {
        "room": [(live, {"cost": 1.125, "speed": 720_000, "busy": 0.8})],
        "steady": [(live, {"cost": 5.5, "p50": 6, "p99": 12}), (log, {"cost": 9})],
        "rooms": [(live, {"cost": 8.5, "speed": 100_000, "broker": 0.8})],
        "idle": [(log, {"resident": 10 * 1024})],
        "storm": [("the hub: API key", {"thrift": 2000})],
        "inbound": [("the hub, 1", {"thrift": 15_000}), ("the hub, 8", {"thrift": 20_000})],
        "endurance": [("log channel", {"speed": 3000})],
    }
    columns = (Column("any", "any"),)
    tables = [
        Table(
            name, "", "", columns, [Row(title, {key: [value] for key, value in some.items()}) for title, some in rows]
        )
        for name, rows in figures.items()
    ]
    return asdict(Figures("a machine", slower_generator=False, complete=True, tables=tables))


def test_inputs_are_the_runs():
    """What is not measured is worked out of what is."""
    found = measured(a_run())
    assert all(
        math.isclose(value, asdict(CAPACITY)[name]) for name, value in asdict(found).items() if name != "machine"
    )


def test_newest_run_that_has_all_is_taken(tmp_path: Path):
    """A partial one has less."""
    (tmp_path / "20260101T000000Z.json").write_text(json.dumps(a_run()))
    partial = a_run()
    partial["tables"] = partial["tables"][:3]
    (tmp_path / "20260102T000000Z.json").write_text(json.dumps(partial))
    assert newest(tmp_path)["tables"] == json.loads(json.dumps(a_run()["tables"]))
    (tmp_path / "20260101T000000Z.json").unlink()
    with pytest.raises(FigureMissing):
        newest(tmp_path)


def test_room_is_on_no_more_nodes_than_it_has_members():
    """A large one is everywhere, one member is on one node."""
    assert nodes_of_room(1000, 1) == 1
    assert math.isclose(nodes_of_room(1, 50), 1)
    assert 9.99 < nodes_of_room(1000, 10) <= 10
    assert 950 < nodes_of_room(1000, 10_000) < 1000


@pytest.mark.parametrize("connections", CONNECTIONS)
def test_what_is_delivered_is_conserved(connections: int):
    """All nodes together do every delivery once, and hear every copy that Redis sends."""
    found = plan(CAPACITY, CHOICES, connections)
    busy = node_busy(CAPACITY, CHOICES, connections, found.nodes) * found.nodes * 1e6
    work = found.deliveries_per_second * CAPACITY.delivery_us + found.copies_per_second * CAPACITY.message_us
    assert math.isclose(busy, work)
    assert found.deliveries_per_second == connections * CHOICES.per_member
    assert found.messages_per_second <= found.copies_per_second <= found.messages_per_second * found.nodes


def test_plan_holds_what_was_chosen_and_one_node_less_does_not():
    """The bottleneck decides."""
    for connections in CONNECTIONS:
        found = plan(CAPACITY, CHOICES, connections)
        assert found.nodes == found.asked[found.bottleneck]

        def holds(nodes: int, connections: int = connections) -> bool:
            return (
                node_busy(CAPACITY, CHOICES, connections, nodes) <= CHOICES.busy
                and connections / nodes * CAPACITY.resident_bytes <= CHOICES.memory_bytes
                and return_seconds(CAPACITY, CHOICES, connections, nodes) <= CHOICES.return_seconds
            )

        assert holds(found.nodes)
        assert found.nodes == 1 or not holds(found.nodes - 1)


def test_more_asks_for_more():
    """Of connections, messages and memory; and slower machines."""
    plans = [plan(CAPACITY, CHOICES, connections) for connections in range(10_000, 2_000_000, 90_000)]
    for fewer, more in itertools.pairwise(plans):
        assert fewer.nodes <= more.nodes
        assert fewer.shards <= more.shards
    base = plan(CAPACITY, CHOICES, 1_000_000).nodes
    assert plan(replace(CAPACITY, write_us=20.0), CHOICES, 1_000_000).nodes > base
    assert plan(CAPACITY, replace(CHOICES, per_member=2.0), 1_000_000).nodes > base
    assert plan(replace(CAPACITY, resident_bytes=200 * 1024), CHOICES, 1_000_000).bottleneck == "memory"
    assert plan(replace(CAPACITY, handshakes_per_second=10), CHOICES, 100_000).bottleneck == "return after a loss"


def test_message_to_a_room_is_divided_by_its_nodes():
    """And is never faster than one node's reading."""
    assert math.isclose(seconds_to_last(CAPACITY, 1000, 1), (30 + 1000 * 5.5) / 1e6)
    times = [seconds_to_last(CAPACITY, 100_000, nodes) for nodes in (1, 10, 100, 1000)]
    assert times == sorted(times, reverse=True)
    assert times[-1] > 30e-6


def test_queue_delivers_everything_and_waits_longer_under_load():
    """Past a load of 1 it joins, and holds."""
    found = [simulate(CAPACITY, members=1000, load=load, messages=6000) for load in (0.1, 0.5, 0.9, 2.0)]
    assert {one.delivered for one in found} == {6000}
    for less, more in itertools.pairwise(found):
        assert less.p99_ms < more.p99_ms
        assert less.joined < more.joined
        assert less.busy < more.busy <= 1
    assert MESSAGES > 6000


def test_queue_finds_what_was_measured_on_one_node():
    """At rest a message takes as long as its writes; without anything that varies, exactly."""
    calm = replace(CAPACITY, spread=1.0)
    rest = simulate(calm, members=1000, load=0.001, messages=500)
    assert math.isclose(rest.p50_ms, (30 + 1000 * 5.5) / 1000, rel_tol=0.01)
    # Flat out, as much is joined as in the measured run: the cost is that of the run with eight in flight.
    heavy = simulate(calm, members=1000, load=5.5 / 1.125 * 0.95, messages=4000)
    assert heavy.busy > 0.9
    assert heavy.joined > 4


def test_page_has_a_line_for_each_size():
    """And says what asks for most."""
    text = written(CAPACITY, CHOICES)
    for connections in CONNECTIONS:
        assert f"| {connections:,} | **{plan(CAPACITY, CHOICES, connections).nodes:,}** |" in text
    assert "10 nodes" in text
