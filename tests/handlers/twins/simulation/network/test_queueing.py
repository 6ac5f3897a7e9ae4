"""Queues wait as long as the formulas of queueing say, and obey Little's law to the last digit."""

import math
from typing import Any

import pytest

from handlers.twins.simulation.model import Case
from tests.handlers.twins.simulation.cases import arrivals, check_mean, network, once, queue

LOAD = 0.7


def erlang_c(servers: int, offered: float) -> float:
    """Return the probability that who comes to M/M/c must wait."""
    terms = [offered**number / math.factorial(number) for number in range(servers)]
    last = offered**servers / math.factorial(servers) / (1 - offered / servers)
    return last / (sum(terms) + last)


def test_wait_in_front_of_one_server():
    """M/M/1: Wq = p / (m - l), W = 1 / (m - l), Lq = p^2 / (1 - p)."""
    case = network({"in": arrivals("desk"), "desk": queue(LOAD)}, warm_up=200)
    wait = LOAD / (1 / LOAD - 1)
    check_mean(
        case,
        {
            "desk.mean_wait": wait,
            "desk.mean_time_in_system": wait + LOAD,
            "desk.mean_queue": LOAD**2 / (1 - LOAD),
            "desk.utilisation": LOAD,
            "in.mean_time_in_system": wait + LOAD,
        },
        horizon=6000,
    )


def test_wait_in_front_of_several_servers():
    """M/M/c: Wq = C(c, a) / (c m - l)."""
    servers, service = 3, 3 * LOAD
    case = network({"in": arrivals("desk"), "desk": queue(service, servers=servers)}, warm_up=200)
    wait = erlang_c(servers, service) / (servers / service - 1)
    check_mean(case, {"desk.mean_wait": wait, "desk.utilisation": LOAD}, horizon=6000)


def test_wait_for_constant_service():
    """M/D/1: half of that of M/M/1."""
    desk = {"kind": "queue", "service": LOAD}
    case = network({"in": arrivals("desk"), "desk": desk}, warm_up=200)
    check_mean(case, {"desk.mean_wait": LOAD**2 / 2 / (1 - LOAD)}, horizon=6000)


def test_who_finds_no_place_is_turned_away():
    """M/M/1/K: the share is p^K (1 - p) / (1 - p^(K + 1))."""
    waiting = 2
    places = waiting + 1
    case = network({"in": arrivals("desk"), "desk": {**queue(LOAD), "capacity": waiting}})
    share = LOAD**places * (1 - LOAD) / (1 - LOAD ** (places + 1))
    # Of all who come in the time, the formula's share; both are counts of the run.
    check_mean(case, {"desk.turned_away": share * 3000, "desk.arrived": 3000}, horizon=3000)


def test_who_comes_again_and_who_goes_on():
    """A network of Jackson: each queue is M/M/1 at the rate that comes to it from outside and from others."""
    again = 0.25
    case = network(
        {
            "in": arrivals("first", 2.0),
            "first": queue(1.0, next={"first": again, "second": 0.5}),
            "second": queue(1.2),
        },
        warm_up=500,
    )
    first = 0.5 / (1 - again)
    second = first * 0.5
    check_mean(
        case,
        {
            "first.mean_wait": first / (1 - first),
            "second.mean_wait": second * 1.2 / (1 / 1.2 - second),
            "first.utilisation": first,
        },
        horizon=10_000,
    )


def test_what_several_queues_share_is_one_queue_for_it():
    """Two queues with servers enough that need one of three: the wait is that of M/M/3."""
    service = 2.1
    shared: dict[str, Any] = {"servers": 1000, "resource": "crew"}
    case = network(
        {
            "a": arrivals("here", 2.0),
            "b": arrivals("there", 2.0),
            "here": queue(service, **shared),
            "there": queue(service, **shared),
            "crew": {"kind": "resource", "capacity": 3},
        },
        warm_up=200,
    )
    wait = erlang_c(3, service) / (3 / service - 1)
    check_mean(case, {"here.mean_wait": wait, "there.mean_wait": wait, "crew.utilisation": 0.7}, horizon=8000)


def closing(nodes: dict[str, dict[str, Any]]) -> Case:
    """Return a case in which nobody comes after 500, so that all have left long before 1000."""
    changes = [
        {"node": name, "what": "demand", "factor": 0, "begin": 500}
        for name, node in nodes.items()
        if node["kind"] == "arrivals"
    ]
    return network(nodes, changes)


@pytest.mark.parametrize("run", range(5))
def test_law_of_little(run: int):
    """Over a time that begins and ends empty L = l W holds exactly, in every queue, with resources, feedback and other servers."""
    nodes: dict[str, dict[str, Any]] = {
        "in": arrivals("first"),
        "first": queue(1.2, servers=2, next={"second": 0.6, "third": 0.2}),
        "second": queue(1.0, next={"first": 0.1}, resource="crew"),
        "third": queue(2.0, servers=3, resource="crew"),
        "crew": {"kind": "resource", "capacity": 2},
    }
    found = once(closing(nodes), 1000, run=run).indicators
    for name, servers in (("first", 2), ("second", 1), ("third", 3)):
        served = found[f"{name}.served"]
        assert served == found[f"{name}.arrived"] > 50
        waiting = found[f"{name}.mean_queue"] * 1000
        assert waiting == pytest.approx(served * found[f"{name}.mean_wait"], rel=1e-9)
        # Who waits for the crew has a server: those are counted among the waiting, and as taken servers.
        if name == "first":
            inside = waiting + found[f"{name}.utilisation"] * servers * 1000
            assert inside == pytest.approx(served * found[f"{name}.mean_time_in_system"], rel=1e-9)
    assert found["in.arrived"] == found["in.left"]


def test_servers_that_are_fewer_for_a_while():
    """Services go on; what waits is admitted when there are servers again."""
    nodes = {"in": {"kind": "arrivals", "to": "desk", "interval": 1}, "desk": {"kind": "queue", "service": 0.5}}
    change = {"node": "desk", "what": "capacity", "factor": 0, "begin": 10.25, "end": 20.25}
    found = once(network(nodes, [change]), 40)
    # The tenth is served to its end; those of 11 to 20 wait, the first of them 9.25.
    assert found.series["desk.queue"][60] == 9
    assert found.indicators["desk.served"] == 39
    assert [(one.what, one.time) for one in found.notable] == [("change_begins", 10.25), ("change_ends", 20.25)]


def test_arrivals_at_a_rate_that_changes():
    """The next comes when the rate has added up to its interval: constant intervals show it."""
    nodes = {"in": {"kind": "arrivals", "to": "desk", "interval": 2}, "desk": {"kind": "queue", "service": 0}}
    change = {"node": "in", "what": "demand", "factor": 4, "begin": 5, "end": 8}
    # 2, 4, then half of an interval is done at 5, the rest at 5.25, then each 0.5; after 7.75 half an interval at 8, 9, 11, 13.
    assert once(network(nodes, [change]), 13.5).indicators["in.arrived"] == 11


def test_full_and_empty_queues_are_told():
    """Once when the first is turned away, once when nobody waits any more."""
    nodes = {
        "in": {"kind": "arrivals", "to": "desk", "interval": 1},
        "desk": {"kind": "queue", "service": 3, "capacity": 1},
    }
    case = network(nodes, [{"node": "in", "what": "demand", "factor": 0, "begin": 6.5}])
    notable = [(one.what, one.time) for one in once(case, 20).notable if one.node == "desk"]
    assert notable == [("queue_full", 3.0), ("queue_empty", 4.0), ("queue_full", 5.0), ("queue_empty", 7.0)]
