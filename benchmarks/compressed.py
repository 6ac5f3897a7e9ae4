"""Members with permessage-deflate beside plain ones: what a delivery costs, and what a connection keeps once messages have come."""

import math
from dataclasses import dataclass
from uuid import uuid4

import aiohttp

from benchmarks.bench import Bench
from benchmarks.contenders import LiveContender, redis_process
from benchmarks.job import Crowd, Pace
from benchmarks.report import Column, Goal, Row, Table, ratios

OFFER = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
CHECKED = 30
CHECK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured; the paces are told as columns of one table, flat out and at 50 a second."""

    crowd: Crowd
    paces: tuple[tuple[str, Pace], ...]
    rounds: int


WHOLE = Sizes(
    Crowd(1000), (("8 in flight", Pace(0.5, 2.0, in_flight=8)), ("50/s", Pace(0.5, 3.0, per_second=50.0))), rounds=3
)
QUICK = Sizes(Crowd(10), (("8 in flight", Pace(0.1, 0.3, in_flight=8)), ("50/s", Pace(0.1, 0.3, per_second=50.0))), 1)
COLUMNS = (
    Column("cost", "server CPU, µs a delivery", digits=2),
    Column("speed", "deliveries/s, thousands", scale=1e-3),
    Column("p99", "p99 ms", digits=1, spread=False),
    Column("resident", "resident KiB a connection, after traffic", scale=1 / 1024, digits=1),
)


async def measure(bench: Bench) -> list[Table]:
    """Measure plain and compressed members by turns, and look at what comes."""
    sizes = QUICK if bench.quick else WHOLE
    contender = LiveContender(bench, await redis_process(bench.hub.redis_url))
    is_taken = await _check(bench)
    rows = {(kind, pace): Row(f"{kind}, {pace}", {}) for pace, _ in sizes.paces for kind in ("plain", "compressed")}
    for _ in range(sizes.rounds):
        for (kind, pace), row in rows.items():
            headers = (OFFER,) if kind == "compressed" else ()
            row.add(await _run(bench, contender, sizes, dict(sizes.paces)[pace], headers))
    notes = [] if is_taken else ["**The hub has not taken the offer of permessage-deflate: all of them were plain.**"]
    says = f"**Compressed members**, {sizes.crowd.members:,} of one room, beside plain ones, {sizes.rounds} rounds:"
    return [Table("compressed", says, "members", COLUMNS, list(rows.values()), _goals(sizes, rows), notes)]


def _goals(sizes: Sizes, rows: dict[tuple[str, str], Row]) -> list[Goal]:
    goals: list[Goal] = []
    for pace, _ in sizes.paces:
        over = ratios(rows["compressed", pace].figures["cost"], rows["plain", pace].figures["cost"])
        goals.append(Goal.at_most(f"1.3 x the plain CPU, {pace}", over, 1.3, unit=" x"))
    kept = rows["compressed", sizes.paces[-1][0]].figures["resident"]
    return [*goals, Goal.at_most("20 KiB a connection after traffic", kept, 20 * 1024, scale=1 / 1024, unit=" KiB")]


async def _run(
    bench: Bench, contender: LiveContender, sizes: Sizes, pace: Pace, headers: tuple[str, ...]
) -> dict[str, float]:
    server = bench.hub.server
    if (
        pace.per_second and not bench.quick
    ):  # what a process has once had, it does not give back: only a new one shows what is kept
        await server.stop()
        await server.start()
        await server.idle()
    empty = server.resident_bytes()
    async with contender.joined(sizes.crowd, pace, headers=headers) as members:
        run = await contender.measured(members)
        await server.idle()
        kept = (server.resident_bytes() - empty) / sizes.crowd.members
    await server.idle()
    return {**run.figures(), "resident": kept if pace.per_second else math.nan}


async def _check(bench: Bench) -> bool:
    """Let another client's inflator read some messages; tell whether they were compressed. RuntimeError: one is wrong."""
    organisation = await bench.hub.organisation("reads")
    url, room = f"http://{bench.hub.server.address}/v2/stream", f"chat:bench-{uuid4().hex[:12]}"
    headers = {"Authorization": f"Bearer {organisation.key}"}
    said = [f"{number} " + "the same again " * 20 for number in range(CHECKED)]
    async with aiohttp.ClientSession(headers=headers) as session, session.ws_connect(url, compress=15) as socket:
        await socket.send_json({"type": "subscribe", "channels": [room]})
        while (await socket.receive_json(timeout=CHECK_SECONDS))["type"] != "subscribed":
            pass
        for text in said:
            await socket.send_json({"type": "publish", "channel": room, "data": text})
        heard: list[str] = []
        while len(heard) < CHECKED:
            frame = await socket.receive_json(timeout=CHECK_SECONDS)
            if frame["type"] == "event":
                heard.append(frame["event"]["data"])
        if heard != said:
            raise RuntimeError("a compressed message is not what was published")
        return bool(socket.compress)
