"""1,000 members of whom 50 read nothing: what the others feel of it, what it costs in memory, and how the 50 end."""

import asyncio
import re
from contextlib import ExitStack
from dataclasses import dataclass

import aiohttp

from benchmarks.bench import Bench
from benchmarks.contenders import LiveContender, Run, redis_process
from benchmarks.deaf import deaf
from benchmarks.job import Crowd, Pace
from benchmarks.publisher import event_template
from benchmarks.report import Column, Goal, Row, Table, ratios
from benchmarks.server import ServerProcess

# So long are events here. Linux takes about 4 MiB for a socket before the hub can see that nobody reads: within the window.
EVENT_BYTES = 8192
CUT_SECONDS, CUT_LOOK_SECONDS = 60.0, 0.5
_CUT = re.compile(r"^hub_slow_readers_cut_total (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many read, how many do not, and how fast messages come. The slow ones' end is waited for after the window."""

    readers: int
    slow: int
    pace: Pace
    rounds: int


WHOLE = Sizes(readers=950, slow=50, pace=Pace(0.5, 14.0, per_second=50.0), rounds=2)
QUICK = Sizes(readers=10, slow=2, pace=Pace(0.1, 0.3, per_second=50.0), rounds=1)
COLUMNS = (
    Column("p50", "publish to the last who reads, p50 ms", digits=1, spread=False),
    Column("p99", "p99 ms", digits=1),
    Column("kept", "resident MiB a slow reader, most", scale=2**-20, digits=2),
    Column("cut", "cut with 4001", spread=False),
)


async def measure(bench: Bench) -> list[Table]:
    """Measure with and without those who do not read, by turns."""
    sizes = QUICK if bench.quick else WHOLE
    contender = LiveContender(bench, await redis_process(bench.hub.redis_url))
    rows = [Row("all read", {}), Row(f"{sizes.slow} read nothing", {})]
    for _ in range(sizes.rounds):
        for row, slow in zip(rows, (0, sizes.slow), strict=True):
            row.add(await _run(bench, contender, sizes, slow))
    says = (
        f"**Members that do not read**, {sizes.slow} beside {sizes.readers} that do, 50 messages of {EVENT_BYTES} bytes a second, "
        f"{sizes.rounds} rounds:"
    )
    with_slow, without = rows[1].figures, rows[0].figures
    goals = [
        Goal.at_most("1.5 x the others' p99 without them", ratios(with_slow["p99"], without["p99"]), 1.5, unit=" x")
    ]
    if not bench.quick:  # for that time must pass
        bound = 4 * 2**20 + EVENT_BYTES
        goals += [
            Goal.at_most("4 MiB a slow reader", with_slow["kept"], bound, scale=2**-20, unit=" MiB"),
            Goal.at_least(f"{sizes.slow} cut with 4001", with_slow["cut"], sizes.slow, digits=0),
        ]
    return [Table("slow", says, "members", COLUMNS, rows, goals, main=False)]


async def _run(bench: Bench, contender: LiveContender, sizes: Sizes, slow: int) -> dict[str, float]:
    server = bench.hub.server
    event = event_template()
    event = event.replace('"text":"', '"text":"' + "." * (EVENT_BYTES - len(event)))
    cut_before = await _cut(server)
    with ExitStack() as stack:
        async with contender.joined(Crowd(sizes.readers), sizes.pace, event=event) as members:
            organisation = await bench.hub.organisation("reads")
            for _ in range(slow):
                stack.enter_context(await deaf(server.host, server.port, organisation.key, (contender.room,)))
            before = server.resident_bytes()
            measuring = asyncio.create_task(contender.measured(members))
            most = before
            while not measuring.done():
                await asyncio.wait({measuring}, timeout=0.2)
                most = max(most, server.resident_bytes())
            run: Run = measuring.result()
        if not bench.quick:
            await _until_cut(server, cut_before + slow)
        cut = await _cut(server) - cut_before
    await server.idle()
    return {**run.figures(), "kept": (most - before) / slow if slow else 0.0, "cut": cut}


async def _until_cut(server: ServerProcess, count: float) -> None:
    for _ in range(round(CUT_SECONDS / CUT_LOOK_SECONDS)):
        if await _cut(server) >= count:
            return
        await asyncio.sleep(CUT_LOOK_SECONDS)


async def _cut(server: ServerProcess) -> float:
    """Read how many slow readers the hub has cut."""
    async with aiohttp.ClientSession() as session, session.get(f"http://{server.address}/metrics") as answer:
        found = _CUT.search(await answer.text())
    return float(found[1]) if found is not None else 0.0
