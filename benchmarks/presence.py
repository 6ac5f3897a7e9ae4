"""Presence of a large room under churn: what each change costs Redis, and each who hears it costs the node, in bytes and CPU.

The members are registered from here, as another node would: what is measured is the node that tells them.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from uuid import UUID

import aiohttp

from benchmarks.bench import Bench
from benchmarks.contenders import Scales, redis_process
from benchmarks.deliverers import asking
from benchmarks.report import Column, Goal, Row, Table, ratios
from core.clock import SystemClock
from core.store.redis import connect_redis
from rooms.presence.presence import Presence
from rooms.presence.store import PresenceStore
from rooms.presence.wire import Diff
from rooms.switch import Switch

STEP_SECONDS = 0.05
CHUNK = 500
COLUMNS = (
    Column("bytes", "KiB/s a listener", scale=1 / 1024, digits=1),
    Column("change", "bytes a change and listener", digits=0, spread=False),
    Column("frames", "frames/s a listener", digits=1, spread=False),
    Column("cost", "server CPU, us a change and listener", digits=2),
    Column("broker", "Redis CPU, us a change", digits=1),
)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured. `changes` are joins and leaves a second, half of each."""

    rounds: int
    rooms: Sequence[int]
    listeners: int
    changes: int
    warm_seconds: float
    seconds: float


WHOLE = Sizes(3, (1_000, 10_000), 200, 1_000, warm_seconds=1.0, seconds=5.0)
QUICK = Sizes(1, (20, 40), 3, 100, warm_seconds=0.2, seconds=0.6)


@dataclass
class _Heard:
    """What one listener was sent."""

    frames: int = 0
    bytes: int = 0


class _Nobody:
    """Hears nothing: this side only registers."""

    def tell(self, org_id: UUID, channel: str, diffs: Sequence[Diff]) -> None:
        """Forget it."""


async def measure(bench: Bench) -> list[Table]:
    """Measure rooms of each size by turns."""
    sizes = QUICK if bench.quick else WHOLE
    organisation = await bench.hub.organisation("presence")
    rows = [Row(f"a room of {members:,}", {}) for members in sizes.rooms]
    for round in range(bench.rounds or sizes.rounds):
        for row, members in zip(rows, sizes.rooms, strict=True):
            channel = f"chat:of-{members}-{round}"
            async with asking(bench.hub, organisation) as session, _registering(bench) as presence:
                figures = await _run(bench, sizes, session, presence, organisation.id, channel, members)
            row.add(figures)
    says = f"**Presence of one room**, {sizes.changes:,} joins and leaves a second, told to {sizes.listeners} sockets:"
    small, large = rows[0].figures, rows[-1].figures
    goals = [
        Goal.at_most(
            "1.1 x the bytes in a room ten times as large", ratios(large["change"], small["change"]), 1.1, unit=" x"
        )
    ]
    return [Table("presence", says, "room", COLUMNS, rows, [] if bench.quick else goals)]


@asynccontextmanager
async def _registering(bench: Bench) -> AsyncGenerator[Presence]:
    """Take part in presence as a node does that has no sockets."""
    redis, clock = connect_redis(bench.hub.redis_url), SystemClock()
    switch = Switch(bench.hub.redis_url, clock=clock)
    presence = Presence(PresenceStore(redis), switch=switch, clock=clock, sink=_Nobody(), grace=0.0)
    running = asyncio.create_task(presence.run())
    try:
        yield presence
    finally:
        await presence.close()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await redis.aclose()


async def _run(
    bench: Bench,
    sizes: Sizes,
    session: aiohttp.ClientSession,
    presence: Presence,
    org_id: UUID,
    channel: str,
    members: int,
) -> dict[str, float]:
    room = _Room(presence, org_id, channel)
    await room.fill(members)
    async with AsyncExitStack() as stack:
        heard = [await stack.enter_async_context(_listening(session, channel)) for _ in range(sizes.listeners)]
        await room.churn(sizes.changes, sizes.warm_seconds)
        scales = Scales(bench.hub.server, [await redis_process(bench.hub.redis_url)])
        before = [(each.frames, each.bytes) for each in heard]
        begin = time.monotonic()
        scales.start()
        changes = await room.churn(sizes.changes, sizes.seconds)
        server, broker = scales.read()
        took = time.monotonic() - begin
        frames = sum(each.frames - was for each, (was, _) in zip(heard, before, strict=True)) / len(heard)
        sent = sum(each.bytes - was for each, (_, was) in zip(heard, before, strict=True)) / len(heard)
    return {
        "bytes": sent / took,
        "change": sent / changes,
        "frames": frames / took,
        "cost": server / changes / len(heard) * 1e6,
        "broker": broker / changes * 1e6,
    }


class _Room:
    """The members of one room, the oldest of whom leaves when another joins."""

    def __init__(self, presence: Presence, org_id: UUID, channel: str) -> None:
        self._presence = presence
        self._place = (org_id, channel)
        self._first = self._next = 0

    async def fill(self, members: int) -> None:
        """Have so many members."""
        while self._next < members:
            for _ in range(min(CHUNK, members - self._next)):
                self._join()
            await self._presence.joined(*self._place, f"c{self._next - 1}")

    async def churn(self, per_second: int, seconds: float) -> int:
        """Let members join and leave at this pace; return how many did."""
        begin, done = time.monotonic(), 0
        while (now := time.monotonic() - begin) < seconds:
            while done < now * per_second:
                self._join()
                self._presence.leave(*self._place, f"c{self._first}")
                self._first += 1
                done += 2
            await asyncio.sleep(STEP_SECONDS)
        return done

    def _join(self) -> None:
        self._presence.join(*self._place, f"person-{self._next:08}", f"c{self._next}")
        self._next += 1


@asynccontextmanager
async def _listening(session: aiohttp.ClientSession, channel: str) -> AsyncGenerator[_Heard]:
    """Hear the room, without looking at what is told."""
    heard = _Heard()
    async with session.ws_connect("/v2/stream", max_msg_size=0) as socket:
        await socket.send_json({"type": "subscribe", "channels": [{"channel": channel, "presence": True}]})
        while (await socket.receive_json())["type"] != "subscribed":
            pass
        listening = asyncio.create_task(_listen(socket, heard))
        try:
            yield heard
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


async def _listen(socket: aiohttp.ClientWebSocketResponse, heard: _Heard) -> None:
    async for message in socket:
        heard.frames += 1
        heard.bytes += len(message.data)
