"""`python -m benchmarks.scaling [RUN.json]`: what it takes past one machine, modelled from the figures of the last run.

Nodes are processes of one core each. How many are needed is asked of each resource by itself; the one that asks for most is the
bottleneck. Latency is simulated (joining_queue.py), not computed. The tables are written into docs/scaling.md.
"""

import argparse
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.capacity import Capacity, Choices, measured, newest
from benchmarks.joining_queue import simulate
from benchmarks.report import RESULTS, write_into
from benchmarks.server import CHECKOUT

PAGE = CHECKOUT / "docs" / "scaling.md"
BEGIN, END = "<!-- scaling -->", "<!-- /scaling -->"
CONNECTIONS = (10_000, 100_000, 1_000_000, 10_000_000)
ROOMS = (1_000, 100_000, 10_000_000)
NODES = (1, 10, 100, 1_000)
LOADS = (0.1, 0.3, 0.5, 0.7, 0.9, 1.2, 2.0)
MOST_NODES = 1_000_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What so many connections take. `asked` has the nodes that each resource asks for."""

    connections: int
    nodes: int
    shards: int
    asked: dict[str, int]
    deliveries_per_second: float
    messages_per_second: float
    copies_per_second: float
    log_per_second: float
    return_seconds: float

    @property
    def bottleneck(self) -> str:
        """The resource that asks for most nodes."""
        return max(self.asked, key=lambda name: self.asked[name])


def nodes_of_room(members: int, nodes: int) -> float:
    """Return on how many nodes a room is to be expected, its members having come to any of them by chance."""
    return nodes * -math.expm1(members * math.log1p(-1 / nodes)) if nodes > 1 else 1.0


def node_busy(capacity: Capacity, choices: Choices, connections: int, nodes: int) -> float:
    """Return how busy a node's core is: with its deliveries, and with hearing of all rooms that have members there."""
    rooms = connections / choices.room
    heard = rooms * choices.per_member * nodes_of_room(choices.room, nodes) / nodes
    deliveries = connections / nodes * choices.per_member
    return (deliveries * capacity.delivery_us + heard * capacity.message_us) / 1e6


def return_seconds(capacity: Capacity, choices: Choices, connections: int, nodes: int) -> float:
    """Return how long the clients of one lost node take to be back on the others, or on its successor where it was alone."""
    spare = capacity.handshakes_per_second * (1 - min(choices.busy, node_busy(capacity, choices, connections, nodes)))
    return connections / nodes / (max(nodes - 1, 1) * spare)


def plan(capacity: Capacity, choices: Choices, connections: int) -> Plan:
    """Return what it takes."""
    asked = {
        "deliveries": _least(lambda nodes: node_busy(capacity, choices, connections, nodes) <= choices.busy),
        "memory": math.ceil(connections * capacity.resident_bytes / choices.memory_bytes),
        "return after a loss": _least(
            lambda nodes: return_seconds(capacity, choices, connections, nodes) <= choices.return_seconds
        ),
    }
    nodes = max(asked.values())
    messages = connections / choices.room * choices.per_member
    copies = messages * nodes_of_room(choices.room, nodes)
    redis_us = messages * capacity.publish_us + copies * choices.copy_us
    return Plan(
        connections=connections,
        nodes=nodes,
        shards=math.ceil(redis_us / 1e6 / choices.busy),
        asked=asked,
        deliveries_per_second=connections * choices.per_member,
        messages_per_second=messages,
        copies_per_second=copies,
        log_per_second=messages * choices.log_share,
        return_seconds=return_seconds(capacity, choices, connections, nodes),
    )


def seconds_to_last(capacity: Capacity, members: int, nodes: int) -> float:
    """Return how long one message to a room takes on an idle hub, its members spread over the nodes evenly."""
    return (capacity.message_us + math.ceil(members / nodes) * capacity.delivery_us) / 1e6


def _least(is_enough: Callable[[int], bool]) -> int:
    """Return the least number of nodes that is enough; more nodes are never worse."""
    high = 1
    while not is_enough(high):
        if high >= MOST_NODES:
            return MOST_NODES
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


def written(capacity: Capacity, choices: Choices) -> str:
    """Return the tables."""
    connections = (
        f"**Connections**, each in a room of {choices.room:,} of which any node may have members, with {choices.per_member:g} "
        "messages a second to each:"
    )
    room = "**One message to one room**, its members spread over nodes: milliseconds until the last has it, nothing else going on:"
    load = (
        f"**Latency of a node under load**, simulated: {choices.room:,} members of one room, messages at random times. The load is "
        "1 where a write for each message and member would take the whole core:"
    )
    parts = [f"Of the figures of this run: {capacity.machine}.", _inputs(capacity, choices)]
    parts += [connections, _plans(capacity, choices), room, _rooms(capacity), load, _latencies(capacity, choices)]
    return "\n\n".join(parts) + "\n"


def _inputs(capacity: Capacity, choices: Choices) -> str:
    chosen = f"{choices.busy:.0%}, {choices.memory_bytes / 2**30:g} GiB, {choices.return_seconds:g} s"
    rows = (
        ("a write to one member, and each message in it", f"{capacity.write_us:.2f} + {capacity.extra_us:.2f} µs"),
        ("a message that a node hears", f"{capacity.message_us:.0f} µs"),
        ("a message in Redis", f"{capacity.publish_us:.0f} µs"),
        ("memory of a connection", f"{capacity.resident_bytes / 1024:.1f} KiB"),
        ("handshakes with recovery, a core", f"{capacity.handshakes_per_second:,.0f}/s"),
        ("events into the log, one PostgreSQL", f"{capacity.log_per_second:,.0f}/s"),
        ("chosen: each node more that hears a message, in Redis", f"{choices.copy_us:g} µs"),
        ("chosen: a core busy, memory of a process, clients of a lost node back within", chosen),
    )
    return _grid(("input", "figure"), rows)


def _plans(capacity: Capacity, choices: Choices) -> str:
    names = ("deliveries", "memory", "return after a loss")
    titles = ("connections", "nodes", "bottleneck", *(f"nodes for {name}" for name in names))
    titles += (
        "messages/s",
        "copies to nodes/s",
        "Redis shards",
        "into the log/s, of one PostgreSQL",
        "a lost node's clients are back",
    )
    rows = [
        (
            f"{one.connections:,}",
            f"**{one.nodes:,}**",
            one.bottleneck,
            *(f"{one.asked[name]:,}" for name in names),
            f"{one.messages_per_second:,.0f}",
            f"{one.copies_per_second:,.0f}",
            f"{one.shards:,}",
            f"{one.log_per_second:,.0f}, {one.log_per_second / capacity.log_per_second:.0%}",
            f"{one.return_seconds:.1f} s",
        )
        for one in (plan(capacity, choices, connections) for connections in CONNECTIONS)
    ]
    return _grid(titles, rows)


def _rooms(capacity: Capacity) -> str:
    rows = [
        (f"{members:,}", *(f"{seconds_to_last(capacity, members, nodes) * 1000:,.1f}" for nodes in NODES))
        for members in ROOMS
    ]
    return _grid(("members", *(f"{nodes:,} nodes" if nodes > 1 else "1 node" for nodes in NODES)), rows)


def _latencies(capacity: Capacity, choices: Choices) -> str:
    rows: list[Sequence[str]] = []
    for load in LOADS:
        found = simulate(capacity, members=choices.room, load=load)
        times = (f"{found.p50_ms:.1f}", f"{found.p99_ms:.1f}")
        rows.append((f"{load:g}", f"{found.per_second:,.0f}", *times, f"{found.joined:.1f}", f"{found.busy:.0%}"))
    return _grid(("load", "messages/s", "p50 ms", "p99 ms", "messages in a write", "core busy"), rows)


def _grid(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def write_page(capacity: Capacity) -> None:
    """Write the tables into docs/scaling.md."""
    write_into(written(capacity, Choices()), PAGE, begin=BEGIN, end=END)


def main() -> None:
    """Parse the command line; print and write the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling")
    parser.add_argument(
        "run", nargs="?", type=Path, help="JSON of a run; the newest in benchmarks/results that has all"
    )
    arguments = parser.parse_args()
    run = json.loads(arguments.run.read_text()) if arguments.run is not None else newest(RESULTS)
    capacity = measured(run)
    print(written(capacity, Choices()))
    write_page(capacity)


if __name__ == "__main__":
    main()
