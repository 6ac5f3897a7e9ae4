"""Server-sent events beside WebSockets: what one delivery costs the server, in a live room and in a channel of the log.

The clients are of Python and count bytes, so this weighs the server, and not how fast it could be.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast
from uuid import uuid4

from benchmarks.bench import Bench
from benchmarks.generator import hub_joining
from benchmarks.publisher import OutboxPublisher, event_template
from benchmarks.report import Column, Goal, Row, Table, ratios
from benchmarks.server import ServerProcess
from core.store.redis import connect_redis
from rooms.live_store import LiveStore

PATIENCE_SECONDS = 60.0
# Published before the last one has reached everybody.
IN_FLIGHT = 8
_WAYS = {"WebSocket": b'{"type":"event"', "server-sent events": b"event: event\n"}
COLUMNS = (
    Column("cost", "server CPU, µs a delivery", digits=2),
    Column("bytes", "bytes a delivery", digits=0, spread=False),
    Column("resident", "resident KiB a connection", scale=2**-10, digits=1, spread=False),
)
Publish = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many members, and how many messages each gets in a round."""

    members: int
    messages: int
    rounds: int


WHOLE = Sizes(members=500, messages=800, rounds=3)
QUICK = Sizes(members=5, messages=16, rounds=1)


class Counter(asyncio.Protocol):
    """A client that counts how often `needle` has come."""

    def __init__(self, request: bytes, needle: bytes, came: asyncio.Event) -> None:
        self.events = 0
        self.bytes = 0
        self.is_ready = False
        self._request = request
        self._needle = needle
        self._came = came
        self._rest = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # which uvloop's is no subclass of
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        whole = self._rest + data
        self.is_ready = self.is_ready or b'{"type":"subscribed"' in whole
        self.events += whole.count(self._needle)
        self.bytes += len(data)
        # What may be the beginning of the next one; shorter than the needle, so that none counts twice.
        self._rest = whole[-(len(self._needle) - 1) :] if self.is_ready else whole
        self._came.set()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


async def measure(bench: Bench) -> list[Table]:
    """Measure both ways in both kinds of channels, by turns."""
    sizes = QUICK if bench.quick else WHOLE
    organisation = await bench.hub.organisation("reads")
    redis = connect_redis(bench.hub.redis_url)
    store, room = LiveStore(redis), f"chat:bench-{uuid4().hex[:12]}"
    outbox = await OutboxPublisher.open(bench.hub.database_url, bench.hub.redis_url, organisation.id, 1)
    template, number = event_template(), 0

    async def say() -> None:
        await store.publish(organisation.id, room, template)

    async def log() -> None:
        nonlocal number
        number += 1
        await outbox.publish(0, number)

    kinds: dict[str, tuple[str, Publish]] = {"room": (room, say), "log": ("agents", log)}
    rows = [Row(f"{way}, a {kind}", {}) for kind in kinds for way in _WAYS]
    try:
        for _ in range(sizes.rounds):
            cases = [(kind, way) for kind in kinds for way in _WAYS]
            for row, (kind, way) in zip(rows, cases, strict=True):
                channel, publish = kinds[kind]
                for name, value in (
                    await _round(bench.hub.server, organisation.key, channel, way, publish, sizes)
                ).items():
                    row.figures.setdefault(name, []).append(value)
    finally:
        await outbox.close()
        await redis.aclose()
    says = f"**Server-sent events beside WebSockets**, {sizes.members} members, {IN_FLIGHT} messages in flight:"
    goals = [
        Goal.at_most(
            f"1.5 x the CPU of a WebSocket, in a {kind}",
            ratios(rows[2 * index + 1].figures["cost"], rows[2 * index].figures["cost"]),
            1.5,
            unit=" x",
        )
        for index, kind in enumerate(kinds)
    ]
    return [Table("sse", says, "clients", COLUMNS, rows, [] if bench.quick else goals, main=False)]


async def _round(
    server: ServerProcess, key: str, channel: str, way: str, publish: Publish, sizes: Sizes
) -> dict[str, float]:
    before = server.resident_bytes()
    came = asyncio.Event()
    async with _members(server, key, channel, way, sizes.members, came) as members:
        await server.idle()
        resident = server.resident_bytes() - before
        cpu, received = server.cpu_seconds(), sum(each.bytes for each in members)
        wanted = 0
        while wanted < sizes.messages:
            for _ in range(IN_FLIGHT):
                await publish()
            wanted += IN_FLIGHT
            await _until(came, lambda: all(each.events >= wanted for each in members))  # noqa: B023 - it is awaited here
        deliveries = wanted * sizes.members
        found = {
            "cost": (server.cpu_seconds() - cpu) / deliveries * 1e6,
            "bytes": (sum(each.bytes for each in members) - received) / deliveries,
            "resident": resident / sizes.members,
        }
    await server.idle()
    return found


@asynccontextmanager
async def _members(
    server: ServerProcess, key: str, channel: str, way: str, count: int, came: asyncio.Event
) -> AsyncGenerator[list[Counter]]:
    request, members = _request(server, key, channel, way), list[Counter]()
    loop = asyncio.get_running_loop()
    try:
        for _ in range(count):
            member = Counter(request, _WAYS[way], came)
            members.append(member)
            await loop.create_connection(lambda member=member: member, server.host, server.port)
        await _until(came, lambda: all(each.is_ready for each in members))
        yield members
    finally:
        for member in members:
            member.close()


def _request(server: ServerProcess, key: str, channel: str, way: str) -> bytes:
    if way == "WebSocket":
        joining = hub_joining(key, (channel,))
        records = dict(joining.records(server.address))
        text = joining.steps[0][1].encode()
        # RFC 6455, section 5.2: a short masked text frame, with a mask that changes nothing.
        return records["handshake"].encode() + bytes((0x81, 0x80 | len(text))) + bytes(4) + text
    head = f"GET /v2/stream/events?channels={channel} HTTP/1.1\r\nHost: {server.address}\r\n"
    return f"{head}Authorization: Bearer {key}\r\n\r\n".encode()


async def _until(came: asyncio.Event, holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():
            came.clear()
            await came.wait()
