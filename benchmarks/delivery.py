"""From an event's commit to its delivery: how soon at a steady pace, and how many a second out of a backlog."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.bench import Bench
from benchmarks.contenders import Scales
from benchmarks.deliverers import SLOTS, ByConsumer, ByPull, BySocket, ByWebhook, Deliverer, Engines, Line, RedisStreams
from benchmarks.jetstream_peer import PROGRAM, JetStream
from benchmarks.job import Pace
from benchmarks.jobs_peer import Procrastinate, schema
from benchmarks.published import PublishedWindow
from benchmarks.report import Column, Goal, Row, Table, ratios


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured; `slow_` of what cannot do as much."""

    rounds: int
    warm_seconds: float
    seconds: float
    per_second: float
    backlog: int
    slow_per_second: float
    slow_backlog: int


WHOLE = Sizes(
    rounds=3, warm_seconds=1.0, seconds=4.0, per_second=500.0, backlog=20_000, slow_per_second=100.0, slow_backlog=1_000
)
QUICK = Sizes(
    rounds=1, warm_seconds=0.1, seconds=0.4, per_second=50.0, backlog=1_000, slow_per_second=50.0, slow_backlog=50
)
COLUMNS = (
    Column("p50", "commit to delivery, p50 ms", digits=1, spread=False),
    Column("p99", "p99 ms", digits=1),
    Column("speed", "out of a backlog, events/s"),
    Column("cost", "server CPU, µs an event"),
    Column("broker_cost", "broker and database CPU, µs an event", spread=False),
    Column("speed_ratio", "the hub's speed over this, by pull or, of those that post, by webhook", digits=2, unit=" x"),
    Column("busy", "server busy at the pace", digits=2, spread=False, main=False),
)
POSTING = ("hub-webhook", "procrastinate")
P99_MS, POSTED = 50.0, 500.0

Figures = Mapping[str, float]


async def measure(bench: Bench) -> list[Table]:
    """Measure all of them by turns."""
    sizes = QUICK if bench.quick else WHOLE
    deliverers = await _deliverers(bench, sizes)
    rows = {deliverer.key: Row(_title(deliverer, sizes), {}) for deliverer in deliverers}
    rounds = bench.rounds or sizes.rounds
    for _ in range(rounds):
        for deliverer in deliverers:
            async with deliverer.opened() as line:
                rows[deliverer.key].add(await _run(line, deliverer, sizes))
    for key, row in rows.items():
        alike = "hub-webhook" if key in POSTING else "hub-pull"
        row.figures["speed_ratio"] = ratios(rows[alike].figures["speed"], row.figures["speed"])
    says = (
        f"**From commit to delivery**, events of 256 bytes to one receiver, {sizes.per_second:.0f} a second, each in a transaction "
        f"of its own; then {sizes.backlog:,} that are committed at once, timed from the first to the last; {rounds} rounds:"
    )
    missing = {"procrastinate": schema() is None, "NATS JetStream": not PROGRAM.exists()}
    notes = [f"{name} is missing: make peers" for name, is_missing in missing.items() if is_missing]
    return [Table("delivery", says, "way", COLUMNS, list(rows.values()), _goals(rows), notes)]


async def _deliverers(bench: Bench, sizes: Sizes) -> Sequence[Deliverer]:
    engines = await Engines.of(bench.hub)
    usual = (sizes.per_second, sizes.backlog)
    ways: list[Deliverer] = [way(bench, engines, usual) for way in (BySocket, ByConsumer, ByPull, ByWebhook)]
    if "redis-streams" in bench.peers:
        ways.append(RedisStreams(bench, engines, usual))
    if "jetstream" in bench.peers and PROGRAM.exists():
        ways.append(JetStream(bench, engines, usual))
    if "procrastinate" in bench.peers and schema() is not None:
        ways.append(Procrastinate(bench, engines, (sizes.slow_per_second, sizes.slow_backlog)))
    return ways


def _title(deliverer: Deliverer, sizes: Sizes) -> str:
    if (deliverer.per_second, deliverer.backlog) == (sizes.per_second, sizes.backlog):
        return deliverer.title
    return f"{deliverer.title} ({deliverer.per_second:.0f} a second, then {deliverer.backlog:,})"


async def _run(line: Line, deliverer: Deliverer, sizes: Sizes) -> Figures:
    pace = Pace(sizes.warm_seconds, sizes.seconds, per_second=deliverer.per_second)
    scales = Scales(line.server, line.brokers)
    window = PublishedWindow(line.publisher, line.arriving, scales, pace, 1)
    run = await window.run(SLOTS)
    paced = {"p50": run.p50_ms, "p99": run.p99_ms, "busy": run.server_seconds / run.seconds}
    first = window.published
    return {**paced, **await drain(line, range(first, first + deliverer.backlog))}


async def drain(line: Line, numbers: range) -> Figures:
    """Commit an event for each number at once; return what a delivery cost, and how fast they came, from the first to the last."""
    scales = Scales(line.server, line.brokers)
    scales.start()
    publishing = asyncio.create_task(line.publisher.publish_all(numbers))
    left, came = set(numbers), list[int]()
    while left:
        arrival = await line.arriving.next()
        if arrival.index in left:
            left.remove(arrival.index)
            came.append(arrival.last_ns)
    await publishing
    server, brokers = scales.read()
    many, began = len(numbers), min(came)
    return {
        # What came with the first, in one answer, is the start and took none of the time.
        "speed": sum(at > began for at in came) / (max(came) - began) * 1e9,
        "cost": server / many * 1e6,
        "broker_cost": brokers / many * 1e6,
    }


def _goals(rows: Mapping[str, Row]) -> list[Goal]:
    hub = [row for key, row in rows.items() if key.startswith("hub-")]
    slowest = [max(waits) for waits in zip(*(row.figures["p99"] for row in hub), strict=True)]
    posted = rows["hub-webhook"].figures["speed"]
    return [
        Goal.at_most(f"{P99_MS:.0f} ms, p99 of the slowest way", slowest, P99_MS, digits=1, unit=" ms"),
        Goal.at_least(f"{POSTED:.0f} webhook deliveries/s by one worker", posted, POSTED, digits=0),
    ]
