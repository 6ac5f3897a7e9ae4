"""REST beside fan-out in one process: creates at a fixed pace while 1,000 members get 50 messages a second; and each alone."""

import asyncio
import time
from dataclasses import dataclass

from benchmarks.bench import Bench
from benchmarks.contenders import LiveContender, redis_process
from benchmarks.generator import Request
from benchmarks.job import Crowd, Pace
from benchmarks.latency import BODY, Poster
from benchmarks.report import Column, Goal, Row, Table, percentile_ms


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured; `posts` a second, from so many connections."""

    crowd: Crowd
    pace: Pace
    posts: float
    connections: int
    rounds: int


WHOLE = Sizes(Crowd(1000), Pace(0.5, 4.0, per_second=50.0), posts=200.0, connections=40, rounds=3)
QUICK = Sizes(Crowd(10), Pace(0.1, 0.4, per_second=50.0), posts=50.0, connections=5, rounds=1)
COLUMNS = (
    Column("post_p50", "create answered, p50 ms", digits=1, spread=False),
    Column("post_p99", "p99 ms", digits=1),
    Column("p50", "message at the last member, p50 ms", digits=1, spread=False),
    Column("p99", "p99 ms", digits=1),
    Column("busy", "server busy", digits=2, spread=False),
)


async def measure(bench: Bench) -> list[Table]:
    """Measure both together, and each alone, by turns."""
    sizes = QUICK if bench.quick else WHOLE
    fan_out = LiveContender(bench, await redis_process(bench.hub.redis_url))
    creates = await Creates.open(bench, sizes.posts, sizes.connections)
    both, alone, rest = Row("both", {}), Row("fan-out alone", {}), Row("creates alone", {})
    try:
        for _ in range(sizes.rounds):
            await _run(fan_out, creates, sizes, both, with_creates=True)
            await _run(fan_out, creates, sizes, alone, with_creates=False)
            rest.add(await creates.run(sizes.pace.seconds))
            await bench.hub.server.idle()
    finally:
        creates.close()
    says = (
        f"**REST beside fan-out**, {sizes.posts:.0f} creates a second and 50 messages a second to {sizes.crowd.members:,} "
        f"members, {sizes.rounds} rounds:"
    )
    goals = [
        Goal.at_most("75 ms, p99 of a create", both.figures["post_p99"], 75, digits=1, unit=" ms"),
        Goal.at_most("75 ms, p99 of a message", both.figures["p99"], 75, digits=1, unit=" ms"),
    ]
    return [Table("mixed", says, "load", COLUMNS, [both, alone, rest], goals)]


async def _run(fan_out: LiveContender, creates: "Creates", sizes: Sizes, row: Row, *, with_creates: bool) -> None:
    async with fan_out.joined(sizes.crowd, sizes.pace) as members:
        measuring = asyncio.create_task(fan_out.measured(members))
        await asyncio.sleep(sizes.pace.warm_seconds)
        if with_creates:
            row.add(await creates.run(sizes.pace.seconds))
        run = await measuring
    row.add({"p50": run.p50_ms, "p99": run.p99_ms, "busy": run.server_seconds / run.seconds})
    await fan_out.server.idle()


class Creates:
    """Sends creates when they are due, whatever the answers; a wait is from when it was due."""

    def __init__(self, posters: list[Poster], per_second: float) -> None:
        self._free = asyncio.Queue[Poster]()
        for poster in posters:
            self._free.put_nowait(poster)
        self._posters = posters
        self._per_second = per_second

    @classmethod
    async def open(cls, bench: Bench, per_second: float, connections: int) -> "Creates":
        """Connect; they are of the organisation `writes`."""
        organisation = await bench.hub.organisation("writes")
        request = Request("POST", "/v2/agents", 201, organisation.key, BODY)
        posters = [await Poster.open(bench.hub.server, request) for _ in range(connections)]
        return cls(posters, per_second)

    async def run(self, seconds: float) -> dict[str, float]:
        """Send for `seconds`; return what the table shows."""
        waits: list[int] = []
        begin = time.monotonic_ns()
        async with asyncio.TaskGroup() as group:
            for number in range(round(seconds * self._per_second)):
                due = begin + round(number * 1e9 / self._per_second)
                await asyncio.sleep(max(0.0, (due - time.monotonic_ns()) / 1e9))
                group.create_task(self._post(due, waits))
        return {"post_p50": percentile_ms(waits, 50), "post_p99": percentile_ms(waits, 99)}

    def close(self) -> None:
        """Close the connections."""
        for poster in self._posters:
            poster.close()

    async def _post(self, due_ns: int, waits: list[int]) -> None:
        poster = await self._free.get()
        await poster.post()
        waits.append(time.monotonic_ns() - due_ns)
        self._free.put_nowait(poster)
