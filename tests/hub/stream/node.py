"""A node that has the stream alone: real engines, relay, feeds and door; only the clock of the door is in the test's hand."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from aiohttp import web

from core.auth.authenticator import Authenticator
from core.auth.limiter import Limiter
from core.auth.seats import Seats
from core.auth.tickets import Tickets
from core.auth.tokens import TokenVerifier
from core.clock import Clock, SystemClock
from core.errors import HubError
from core.events.epoch import settle_epoch
from core.events.log import LogReader
from core.events.relay import Relay
from core.operations.audit import AuditTrail
from core.operations.idempotency import IdempotencyKeys
from core.operations.operation import Operation, Registry
from core.operations.runner import Runner
from core.pressure import Pressed
from core.settings import Settings
from core.store.database import Database
from core.store.redis import Redis, connect_redis
from handlers.agents.operations import Agents
from handlers.knowledge.moving.operations import KnowledgeMoves
from handlers.knowledge.operations import Knowledge
from handlers.twins.operations import Twins
from hub.consumers import consumers_of
from hub.pokes import follow, hear
from hub.presence import presence_of
from hub.server import Server
from hub.spaces import SpaceParts
from hub.stream.calls import Operations
from hub.stream.door import StreamDoor
from hub.stream.fanout import Fanout
from hub.stream.parts import Authenticates
from hub.stream.plain.door import PlainDoor
from hub.stream.presence_listeners import NodePresence
from hub.stream.settings import StreamSettings
from hub.twins import TwinParts
from rooms.beginnings import Beginnings
from rooms.feed import Feeds
from rooms.live import LiveRooms
from rooms.presence.presence import Presence
from rooms.tail import Tails
from tests.harness.installation import secret_of
from tests.harness.stream_client import StreamClient, open_stream
from tests.harness.waiting import eventually

# No second passes by itself, so as many may come in it as like to.
STILL = StreamSettings(handshakes_per_second=1_000_000.0)
_EMIT = """
    INSERT INTO outbox (org_id, event_id, type, subject, channel, time, envelope)
    SELECT $1, id, 'agent.updated', replace($2, ':', '/'), $2, now(),
           format('{"id":"%s","type":"agent.updated","source":"aimatrix","subject":"%s","time":"2026-01-01T00:00:00.000000Z",'
                  '"data":{"number":%s,"padding":"%s"}}', id, replace($2, ':', '/'), number, repeat('x', $3))
    FROM (SELECT gen_random_uuid() AS id, number FROM generate_series($4::int, $5::int) AS number ORDER BY number) AS made
"""


class Node:
    """One served door. `emit` writes events as operations do, and the relay carries them."""

    def __init__(
        self,
        door: StreamDoor,
        feeds: Feeds,
        live: LiveRooms,
        relay: Relay,
        database: Database,
        log: LogReader,
        port: int,
        tickets: Tickets,
        seats: Seats,
        presence: Presence,
    ) -> None:
        self.presence = presence
        self.door = door
        self.feeds = feeds
        self.live = live
        self.log = log
        self.port = port
        self.tickets = tickets
        self.seats = seats
        # What clients of `open` and `joined` offer.
        self.subprotocols: Sequence[Any] | None = None
        self.url = f"ws://127.0.0.1:{port}/v1/stream"
        self.base_url = f"http://127.0.0.1:{port}"
        self._relay = relay
        self.database = database
        self._emitted = 0

    def open(self, key: str | None = None, **options: Any) -> contextlib.AbstractAsyncContextManager[StreamClient]:
        """Open one socket."""
        return open_stream(self.url, key, **{"subprotocols": self.subprotocols, **options})

    @asynccontextmanager
    async def joined(self, key: str, *channels: Any) -> AsyncGenerator[StreamClient]:
        """Open a socket that has subscribed to `channels`, all of which it may."""
        async with self.open(key) as client:
            answer = await client.subscribe(*channels)
            assert not [each for each in answer["channels"] if "error" in each], answer
            yield client

    async def emit(self, org_id: UUID, count: int = 1, channel: str = "", *, padding: int = 0) -> list[int]:
        """Write `count` events; return their numbers, which stand in the envelopes and rise. They go their way later."""
        first = self._emitted + 1
        self._emitted += count
        async with self.database.transaction(org_id) as db:
            await db.execute(_EMIT, org_id, channel or f"agents:{uuid4()}", padding, first, self._emitted)
        self._relay.poke()
        return list(range(first, self._emitted + 1))

    def poke(self) -> None:
        """Tell the relay that something was written."""
        self._relay.poke()

    async def logged(self, org_id: UUID, position: int) -> None:
        """Wait until the log ends at `position`, and is published."""

        async def is_there() -> bool:
            async with self.database.read(org_id) as db:
                return bool(await db.fetchval("SELECT published >= $1 FROM heads", position))

        await eventually(is_there, what=f"position {position}")


def numbers_of(frames: list[dict[str, Any]]) -> list[int]:
    """Return the numbers of event frames."""
    return [frame["event"]["data"]["number"] for frame in frames]


def render(request: web.Request, refused: HubError) -> web.StreamResponse:
    """Answer as the REST door would."""
    body = {"error": {"code": refused.code, "message": refused.text, "path": request.path}}
    headers = {} if refused.retry_after is None else {"Retry-After": str(refused.retry_after)}
    return web.json_response(body, status=refused.status, headers=headers)


@asynccontextmanager
async def serve(
    database_url: str,
    redis_url: str,
    clock: Clock,
    *,
    authenticator: Authenticates | None = None,
    log: Any = None,
    settings: StreamSettings | None = None,
    public_url: str | None = None,
    origins: Collection[str] = (),
    fanout: Fanout | None = None,
    beginnings: Beginnings | None = None,
    twins: Callable[[Database, LiveRooms, Clock], TwinParts] | None = None,
    spaces: Path | bool = False,
    grace: float = 5.0,
    pressure: Pressed | None = None,
) -> AsyncGenerator[Node]:
    """Serve a node; everything ends with the context. The slices of a `fanout` that is given are the test's.

    `spaces`: it follows what is set for namespaces and chats, and has their operations; a path is that of the file.
    """
    async with AsyncExitStack() as stack:
        database, redis = await _opened(stack, database_url, redis_url)
        tails = Tails(redis)
        await settle_epoch(database_url, tails.tops)
        relay = Relay(database_url, tails, SystemClock())
        fanout, reader = fanout or await _fanout(stack, pressure), LogReader(database)
        feeds = Feeds(redis_url, tails=tails, log=reader, clock=SystemClock(), sink=fanout)
        kept = await _spaces(stack, database, redis, redis_url, spaces)
        live, presence = await _rooms(stack, redis, feeds, fanout, kept, grace)
        secret = await secret_of(database_url)
        tickets, seats = Tickets(redis, secret, clock), Seats(redis, clock, node=str(uuid4()))
        stack.push_async_callback(seats.close)
        limiter = await _limiter(stack, redis_url, redis)
        runner = _runner(stack, database_url, database, relay, limiter)
        measuring = None if twins is None else _measuring(stack, twins(database, live, clock))
        door = StreamDoor(
            feeds=feeds,
            log=log or reader,
            fanout=fanout,
            live=live,
            authenticator=authenticator or _authenticator(stack, database, secret, clock),
            tickets=tickets,
            seats=seats,
            operations=Operations(runner, _registry(kept.operations(live) if spaces else ())),
            consumers=consumers_of(database, feeds, fanout.counts, SystemClock(), relay.poke),
            clock=clock,
            beginnings=beginnings if measuring is None else measuring.snapshots,
            telemetry=measuring and measuring.telemetry,
            presence=presence,
            render=render,
            public_url=public_url,
            origins=origins,
            settings=settings or STILL,
            pressure=pressure,
        )
        for part in (relay, feeds, live, presence.rooms, seats, door):
            await stack.enter_async_context(_running(part.run()))
        port = await stack.enter_async_context(_listening(door, clock))
        yield Node(door, feeds, live, relay, database, reader, port, tickets, seats, presence.rooms)


async def _rooms(
    stack: AsyncExitStack, redis: Redis, feeds: Feeds, fanout: Fanout, kept: SpaceParts, grace: float
) -> tuple[LiveRooms, NodePresence]:
    live = LiveRooms(kept.store, switch=feeds.switch, clock=SystemClock(), sink=fanout)
    namespaces = kept.store.namespaces
    presence = presence_of(redis, feeds.switch, fanout, SystemClock(), namespaces=namespaces, grace=grace)
    await feeds.open()
    stack.push_async_callback(feeds.close)
    stack.push_async_callback(live.close)
    stack.push_async_callback(presence.rooms.close)
    return live, presence


async def _opened(stack: AsyncExitStack, database_url: str, redis_url: str) -> tuple[Database, Redis]:
    database = Database(database_url, role="hub_app")
    await database.open()
    stack.push_async_callback(database.close)
    redis = connect_redis(redis_url)
    stack.push_async_callback(redis.aclose)
    return database, redis


def _measuring(stack: AsyncExitStack, twins: TwinParts) -> TwinParts:
    stack.push_async_callback(twins.close)
    return twins


async def _spaces(
    stack: AsyncExitStack, database: Database, redis: Redis, redis_url: str, wanted: Path | bool
) -> SpaceParts:
    settings = Settings.load(namespaces=wanted if isinstance(wanted, Path) else None)
    made = SpaceParts(settings, database, redis, SystemClock())
    stack.push_async_callback(made.close)
    if not wanted:
        return made
    await made.load()
    heard = await hear(redis_url, SystemClock(), *made.pokes)
    stack.push_async_callback(heard.close)
    for work in (follow(heard, *made.pokes), *(each.run() for each in made.running.values())):
        await stack.enter_async_context(_running(work))
    return made


def _runner(stack: AsyncExitStack, database_url: str, database: Database, relay: Relay, limiter: Limiter) -> Runner:
    trail = AuditTrail(database_url, SystemClock())
    stack.push_async_callback(trail.close)
    return Runner(database, trail, SystemClock(), relay.poke, limiter, IdempotencyKeys("of a test"))


def _registry(more: Iterable[Operation]) -> Registry:
    kinds = (Agents(), Knowledge(), KnowledgeMoves(), Twins())
    return Registry.of((*(each for kind in kinds for each in kind.operations()), *more))


def _authenticator(stack: AsyncExitStack, database: Database, secret: str, clock: Clock) -> Authenticator:
    tokens = TokenVerifier(issuer="aimatrix.com", audience="api.aimatrix.com", keys=None, clock=clock)
    made = Authenticator(database, secret, tokens, clock)
    stack.push_async_callback(made.close)
    return made


async def _limiter(stack: AsyncExitStack, redis_url: str, redis: Redis) -> Limiter:
    made = Limiter(redis_url, redis, SystemClock())
    stack.callback(made.close)
    await stack.enter_async_context(_running(made.run()))
    await made.begin()
    return made


async def _fanout(stack: AsyncExitStack, pressure: Pressed | None) -> Fanout:
    made = Fanout(pressure=pressure)
    await stack.enter_async_context(_running(made.run()))
    return made


@asynccontextmanager
async def _running(work: Coroutine[Any, Any, None]) -> AsyncGenerator[None]:
    task = asyncio.create_task(work)
    try:
        yield
        assert not task.done(), task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def _listening(door: StreamDoor, clock: Clock) -> AsyncGenerator[int]:
    app = web.Application()
    door.add_to(app)
    PlainDoor(door, clock).add_to(app)
    server = Server(app, web.RequestHandler)
    url = await server.listen("127.0.0.1", 0)
    try:
        yield int(url.rpartition(":")[2])
    finally:
        await door.close()
        await server.close(within=1.0)
