"""Filtered members and a room that delivers the newest of each key, beside plain ones; and plain ones beside a filter.

The filter lets everything pass: what it costs is what it takes to look. Members of a room that delivers the newest read as it
comes, so each event is one for each of them, unless several come at once.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import aiohttp

from benchmarks.bench import Bench
from benchmarks.contenders import LiveContender, redis_process
from benchmarks.deliverers import asking
from benchmarks.job import MARK, Crowd, Pace
from benchmarks.publisher import event_template
from benchmarks.report import Column, Goal, Row, Table, ratios

PASSES = {"filter": {"text": {"$exists": True}}}
COLUMNS = (
    Column("cost", "server CPU, µs a delivery", digits=2),
    Column("speed", "deliveries/s, thousands", scale=1e-3),
    Column("p99", "p99 ms", digits=1, spread=False),
)
FILTERED, BESIDE, NEWEST = 1.15, 1.1, 1.5


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured: each kind of members at each pace."""

    crowd: Crowd
    paces: Mapping[str, Pace]
    rounds: int


WHOLE = Sizes(
    Crowd(1000), {"8 in flight": Pace(0.5, 2.0, in_flight=8), "50/s": Pace(0.5, 3.0, per_second=50.0)}, rounds=3
)
QUICK = Sizes(Crowd(10), {"8 in flight": Pace(0.1, 0.3, in_flight=8), "50/s": Pace(0.1, 0.3, per_second=50.0)}, 1)
KINDS = ("plain", "filtered", "plain, beside a filter", "newest of each key")


async def measure(bench: Bench) -> list[Table]:
    """Measure all kinds by turns."""
    sizes = QUICK if bench.quick else WHOLE
    contender = LiveContender(bench, await redis_process(bench.hub.redis_url))
    rows = {(kind, pace): Row(f"{kind}, {pace}", {}) for pace in sizes.paces for kind in KINDS}
    for _ in range(bench.rounds or sizes.rounds):
        for (kind, pace), row in rows.items():
            row.add(await _run(bench, contender, sizes.crowd, sizes.paces[pace], kind))
    says = f"**Views of a room**, {sizes.crowd.members:,} members, {sizes.rounds} rounds:"
    return [Table("views", says, "members", COLUMNS, list(rows.values()), _goals(sizes, rows), main=False)]


def _goals(sizes: Sizes, rows: Mapping[tuple[str, str], Row]) -> list[Goal]:
    bounds = {"filtered": FILTERED, "plain, beside a filter": BESIDE, "newest of each key": NEWEST}
    goals: list[Goal] = []
    for pace in sizes.paces:
        plain = rows["plain", pace].figures["cost"]
        for kind, bound in bounds.items():
            over = ratios(rows[kind, pace].figures["cost"], plain)
            goals.append(Goal.at_most(f"{kind}: {bound} x the plain CPU, {pace}", over, bound, unit=" x"))
    return goals


async def _run(bench: Bench, contender: LiveContender, crowd: Crowd, pace: Pace, kind: str) -> dict[str, float]:
    if kind == "newest of each key":
        return await _run_newest(bench, contender, crowd, pace)
    options = PASSES if kind == "filtered" else None
    async with AsyncExitStack() as stack:
        members = await stack.enter_async_context(contender.joined(crowd, pace, options=options))
        if kind == "plain, beside a filter":
            await stack.enter_async_context(_one_more(bench, contender.room))
        run = await contender.measured(members)
    await contender.server.idle()
    return run.figures()


async def _run_newest(bench: Bench, contender: LiveContender, crowd: Crowd, pace: Pace) -> dict[str, float]:
    """Of a twin's telemetry, told as the hub tells it; each event has a metric of its own."""
    organisation = await bench.hub.organisation("reads")
    new = {"name": f"Bench {uuid4()}", "type": "asset"}
    async with asking(bench.hub, organisation) as session, session.post("/v2/twins", json=new) as answer:
        room = f"twins:{(await answer.json())['id']}/telemetry"
    event = event_template()
    data = event.partition(',"data":')[0] + f',"data":{{"metrics":{{"{MARK}":{{"value":1.5,"text":"{"." * 100}"}}}}}}}}'
    async with contender.joined(crowd, pace, event=data, room=room) as members:
        run = await contender.measured(members)
    await contender.server.idle()
    return run.figures()


@asynccontextmanager
async def _one_more(bench: Bench, room: str) -> AsyncGenerator[None]:
    """Have one member of the room with a filter, that nothing passes."""
    organisation = await bench.hub.organisation("reads")
    url = f"http://{bench.hub.server.address}/v2/stream"
    headers = {"Authorization": f"Bearer {organisation.key}"}
    async with aiohttp.ClientSession(headers=headers) as session, session.ws_connect(url) as socket:
        item: dict[str, Any] = {"channel": room, "filter": {"text": {"$exists": False}}}
        await socket.send_json({"type": "subscribe", "channels": [item]})
        while (await socket.receive_json(timeout=10.0))["type"] != "subscribed":
            pass
        yield
