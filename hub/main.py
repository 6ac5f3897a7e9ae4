"""The one place that wires everything: settings in, a node out. Everything gets what it needs here, by constructor."""

import asyncio
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import structlog
from aiohttp import web

from core.auth.authenticator import Authenticator
from core.auth.limiter import Limiter
from core.auth.signing import ensure_signing_key
from core.clock import Clock
from core.deadline import end_tasks
from core.errors import HubError
from core.events.epoch import settle_epoch
from core.events.log import LogReader
from core.events.relay import Relay
from core.histogram import Histogram
from core.ids import new_id
from core.operations.audit import AuditTrail
from core.operations.idempotency import IdempotencyKeys
from core.operations.operation import Operation, Registry
from core.operations.runner import Runner
from core.pressure import Pressure
from core.settings import Settings
from core.store.database import Database
from core.store.migrate import installation_secret, migrate
from core.store.redis import Redis, connect_redis
from handlers.models.providers import Models
from handlers.subscriptions.wiring import subscription_operations
from hub.agents import AgentParts
from hub.background import Background
from hub.channels import ChannelParts
from hub.consumers import consumers_of
from hub.credentials import Credentials, credentials_of
from hub.engines import Addresses, engines_of
from hub.entrance import add_rules, health_of, tls_of
from hub.first_key import ensure_first_key
from hub.guide import GuideDoor
from hub.insight.metrics import Siblings
from hub.insight.parts import Insight
from hub.jobs import JobParts, joined_work
from hub.key_set import KeySetDoor
from hub.knowledge import KnowledgeParts
from hub.knowledge_life import KnowledgeLifeParts
from hub.overload.watch import SCALES, OverloadWatch
from hub.overload.wiring import overload_of
from hub.pages import PageDoor
from hub.pokes import Pokes, follow, hear
from hub.presence import presence_of
from hub.registering import registry
from hub.running import Door, Runs
from hub.server import Server
from hub.spaces import SpaceParts
from hub.stream.asyncapi import AsyncApiDoor
from hub.stream.calls import Operations
from hub.stream.door import StreamDoor
from hub.stream.fanout import Fanout
from hub.stream.plain.door import PlainDoor
from hub.stream.presence_listeners import NodePresence
from hub.stream.settings import stream_settings
from hub.twins import TwinParts
from hub.webhooks import Waking, WebhookParts
from rest.door import RestDoor
from rest.v1 import V1
from rooms.arrivals import Arrivals
from rooms.beginnings import JoinedBeginnings
from rooms.feed import Feeds
from rooms.live import LiveRooms
from rooms.tail import Tails

MAX_BODY = 1024 * 1024
WEB = Path(__file__).parent.parent / "web"
# What of the JavaScript SDK the pages use.
LIVE = WEB.parent / "sdks" / "javascript" / "live"
DOCS = Path(__file__).parent.parent / "docs"


class Hub:
    """One node. `start()`, then `stop()`; `on_death` hears when the node cannot go on.

    `sockets` that listen already are taken instead of the settings' address; `siblings` are the other workers; `pauses` are the
    garbage collector's, by generation.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        on_death: Callable[[str], None],
        *,
        sockets: Sequence[socket.socket] = (),
        siblings: Siblings | None = None,
        pauses: Mapping[str, Histogram] | None = None,
    ) -> None:
        self._settings = settings
        self._sockets = sockets
        self._siblings = siblings
        self._pauses = pauses or {}
        self._clock = clock
        self._pressure = Pressure(clock, SCALES)
        self._background = Background(on_death)
        self._stack = AsyncExitStack()
        self._ready = False
        # Its name among the nodes of this hub; another with each start.
        self.node = str(new_id())
        self._log = structlog.get_logger()
        self.url = ""
        self.key_file: Path | None = None

    async def start(self) -> None:
        """Bring everything up, and listen; raises what a start can fail by, with nothing left running."""
        try:
            await self._start()
        except BaseException:
            await self._close()
            raise

    async def stop(self, *, linger: float = 0.0) -> None:
        """Drain: say so, accept no more, give the relay's locks back, hand out slots, then end.

        Where others accept on the same address, `linger` is for how many seconds connections without a stream are kept for their
        next request, upon whose answer they are closed.
        """
        self._ready = False
        self._server.shut()
        self._insight.end_traces()
        await end_tasks([self._relaying])
        await asyncio.gather(
            self._webhooks.pusher.drain(self._settings.drain),
            self._stream.drain(self._clock.monotonic() + self._settings.drain),
            self._server.empty(self._clock, linger),
            self._jobs.drain(self._settings.drain),
        )
        await self._server.close(within=self._settings.drain)
        await self._close()

    async def _start(self) -> None:
        addresses = await self._stack.enter_async_context(engines_of(self._settings))
        await migrate(addresses.database_url)
        secret = self._settings.secret or await installation_secret(addresses.database_url)
        await ensure_signing_key(addresses.database_url, secret)
        if addresses.embedded:
            self.key_file = await ensure_first_key(addresses.database_url, secret, self._settings.data)
        self._life = self._make_life(addresses.database_url)
        await self._wire(addresses, secret)
        self.url = await self._server.listen(self._settings.host, self._settings.port, self._sockets)
        self._ready = True

    async def _wire(self, addresses: Addresses, secret: str) -> None:
        settings, clock, stack = self._settings, self._clock, self._stack
        database, redis, trail = await self._open(addresses)
        tails = Tails(redis)
        await settle_epoch(addresses.database_url, tails.tops)
        self._relay = Relay(addresses.database_url, Waking(tails, self._wake), clock)
        pokes = Pokes(self._relay, redis, clock)
        stack.push_async_callback(pokes.close)
        log = LogReader(database)
        fanout = Fanout(settings.fanout_slice, self._pressure)
        feeds = Feeds(addresses.redis_url, tails=tails, log=log, clock=clock, sink=fanout)
        live = await self._begin_live(database, redis, feeds, fanout)
        presence = self._make_presence(redis, feeds, fanout)
        self._jobs = self._job_parts(addresses.database_url, secret, database, redis, live, pokes)
        credentials = await credentials_of(settings, addresses, database, redis, secret, clock, node=self.node)
        stack.push_async_callback(credentials.close)
        self._insight = self._make_insight(redis, feeds)
        pulling = subscription_operations(database, log, Arrivals(feeds, clock), clock, pokes.poke, self._jobs.pulled)
        webhooks = self._make_webhooks(addresses.database_url, secret, pokes)
        beginnings = JoinedBeginnings(self._agents.snapshots, self._twins.snapshots)
        channels = [*self._make_channels(live, beginnings, presence), *self._spaces.operations(live)]
        operations = self._operations(credentials, [*pulling, *webhooks, *channels])
        limits = await self._begin_limiting(addresses.redis_url, redis)
        runner = Runner(database, trail, clock, pokes.poke, limits, IdempotencyKeys(secret), self._insight.timings)
        rest = self._rest(runner, operations, credentials.authenticator)
        render = _rendering(rest)
        self._stream = StreamDoor(
            feeds=feeds,
            log=log,
            fanout=fanout,
            live=live,
            authenticator=credentials.authenticator,
            tickets=credentials.tickets,
            seats=credentials.seats,
            operations=Operations(runner, operations),
            consumers=consumers_of(database, feeds, fanout.counts, clock, pokes.poke),
            clock=clock,
            beginnings=beginnings,
            telemetry=self._twins.telemetry,
            presence=presence,
            render=render,
            public_url=settings.public_url,
            origins=settings.origins,
            returns_per_second=settings.returns_per_second,
            settings=stream_settings(settings),
            pressure=self._pressure,
        )
        counted = (fanout.counts, self._relay, database, trail, limits.counts, self._pauses, self._siblings)
        metrics = self._insight.metrics(*counted, self._jobs, self._webhooks.pusher, self._life)
        insight = self._insight.door(metrics, credentials.authenticator, trail, render, rest.request_id_of)
        key_set = KeySetDoor(credentials.keys.key_set, render)
        app = self._application(key_set, insight, health_of(database, redis, feeds, clock, self._pressure), rest)
        add_rules(app, settings, render)
        self._server = Server(app, rest.protocol, tls=tls_of(settings, clock))
        await self._begin_relaying(addresses.redis_url, pokes)
        self._run(audit=trail, seats=credentials.seats, fanout=fanout, overload=self._overload(fanout))
        self._run(**self._jobs.running, **self._life.running, **self._spaces.running)
        await self._begin_streaming(feeds, live, presence)

    async def _open(self, addresses: Addresses) -> tuple[Database, Redis, AuditTrail]:
        database = Database(addresses.database_url, role="hub_app")
        await database.open()
        self._stack.push_async_callback(database.close)
        redis = connect_redis(addresses.redis_url)
        self._stack.push_async_callback(redis.aclose)
        trail = AuditTrail(addresses.database_url, self._clock)
        self._stack.push_async_callback(trail.close)
        return database, redis, trail

    async def _begin_live(self, database: Database, redis: Redis, feeds: Feeds, fanout: Fanout) -> LiveRooms:
        """Learn what goes for namespaces; return the live rooms, which go by it."""
        self._spaces = SpaceParts(self._settings, database, redis, self._clock)
        self._stack.push_async_callback(self._spaces.close)
        return await self._spaces.begin(feeds.switch, fanout, lambda: self._insight.nodes)

    def _make_presence(self, redis: Redis, feeds: Feeds, fanout: Fanout) -> NodePresence:
        return presence_of(
            redis,
            feeds.switch,
            fanout,
            self._clock,
            namespaces=self._spaces.store.namespaces,
            grace=self._settings.presence_grace,
            pressure=self._pressure,
        )

    def _make_insight(self, redis: Redis, feeds: Feeds) -> Insight:
        node, pressure = self.node, self._pressure
        return Insight(redis, feeds, self._clock, node=node, sockets=lambda: self._stream.sockets, pressure=pressure)

    def _overload(self, fanout: Fanout) -> OverloadWatch:
        lag, door, relay = self._insight.lag, self._stream, self._relay
        parts = self._pressure, self._settings, self._clock
        return overload_of(*parts, lag=lag, door=door, fanout=fanout, relay=relay)

    def _rest(self, runner: Runner, operations: Registry, authenticator: Authenticator) -> RestDoor:
        """Return the REST door, without the versions that are off."""
        return RestDoor(
            runner,
            operations,
            authenticator,
            self._clock,
            lambda: self._ready,
            () if self._settings.v1 else (V1,),
            debug=self._settings.debug,
            trusted=self._settings.trusted_proxies,
            pressure=self._pressure,
        )

    def _application(self, *doors: Door) -> web.Application:
        """Return what is served: the stream, what is the same on every node, and `doors`."""
        app = web.Application(client_max_size=MAX_BODY)
        self._stream.add_to(app, ("v1", "v2") if self._settings.v1 else ("v2",))
        plain = PlainDoor(self._stream, self._clock)
        for door in (plain, PageDoor(WEB, LIVE), AsyncApiDoor(), GuideDoor(DOCS), *doors):
            door.add_to(app)
        return app

    async def _begin_streaming(self, feeds: Feeds, live: LiveRooms, presence: NodePresence) -> None:
        """Follow what happens; each part ends before what it uses."""
        await feeds.open()
        self._stack.push_async_callback(feeds.close)
        self._stack.push_async_callback(live.close)
        self._stack.push_async_callback(presence.rooms.close)
        self._stack.push_async_callback(self._insight.close)
        self._background.start("insight", self._insight.run())
        self._background.start("feeds", feeds.run())
        self._background.start("live", live.run())
        self._background.start("presence", presence.rooms.run())
        self._background.start("stream", self._stream.run())
        self._stack.push_async_callback(self._stream.close)

    def _run(self, **parts: Runs) -> None:
        """Have them work in the background, each by its name."""
        for name, part in parts.items():
            self._background.start(name, part.run())

    def _job_parts(
        self, url: str, secret: str, database: Database, redis: Redis, live: LiveRooms, pokes: Pokes
    ) -> JobParts:
        """Make what does jobs, and before it the parts of knowledge, agents and twins, which most of them are of."""
        models = Models(self._settings, self._clock)
        self._stack.push_async_callback(models.close)
        self._knowledge = KnowledgeParts(self._settings, database, models, self._clock, pokes.poke)
        self._stack.push_async_callback(self._knowledge.close)
        retriever = self._knowledge.retriever
        self._agents = AgentParts(self._settings, database, live, retriever, models, secret, self._clock, pokes.poke)
        self._stack.push_async_callback(self._agents.close)
        self._twins = TwinParts(self._settings, database, live, self._clock, pokes.poke, pressure=self._pressure)
        self._stack.push_async_callback(self._twins.close)
        more = joined_work(self._knowledge.work, self._agents.work, self._twins.work)
        parts = JobParts(url, database, redis, self._clock, does_jobs=self._settings.jobs, more=more)
        self._stack.push_async_callback(parts.close)
        return parts

    async def _begin_limiting(self, redis_url: str, redis: Redis) -> Limiter:
        """Count requests with the other nodes; the first ones too, where Redis answers."""
        limiter = Limiter(redis_url, redis, self._clock, nodes=lambda: self._insight.nodes)
        self._stack.callback(limiter.close)
        self._stack.push_async_callback(self._background.stop)
        self._background.start("limits", limiter.run())
        await limiter.begin()
        return limiter

    async def _begin_relaying(self, redis_url: str, pokes: Pokes) -> None:
        """Relay, and hear the pokes of other nodes; what runs in the background ends before what it uses."""
        heard = await hear(redis_url, self._clock, pokes, self._jobs.pokes, *self._spaces.pokes)
        self._stack.push_async_callback(heard.close)
        self._stack.push_async_callback(self._background.stop)
        self._relaying = self._background.start("relay", self._relay.run())
        self._background.start("webhooks", self._webhooks.pusher.run())
        self._background.start("pokes", follow(heard, pokes, self._jobs.pokes, *self._spaces.pokes))

    def _operations(self, credentials: Credentials, more: Iterable[Operation]) -> Registry:
        """Return all operations of this node."""
        parts = (credentials, self._insight, self._jobs)
        of_parts = (each for part in parts for each in part.operations())
        jobs = self._jobs.jobs
        return registry(
            [
                *of_parts,
                *self._knowledge.operations(jobs, self._life.queries),
                *self._agents.operations(jobs),
                *self._twins.operations(jobs),
                *more,
            ],
            self._knowledge.knowledge(jobs),
            self._agents.agents(jobs),
            self._twins.twins(jobs),
        )

    def _make_webhooks(self, database_url: str, secret: str, pokes: Pokes) -> list[Operation]:
        """Make what pushes, which runs once this node relays, and return the operations on webhooks."""
        self._webhooks = WebhookParts(self._settings, database_url, secret, self._clock, pokes.poke)
        self._stack.push_async_callback(self._webhooks.close)
        return self._webhooks.operations()

    def _make_channels(self, live: LiveRooms, beginnings: JoinedBeginnings, presence: NodePresence) -> list[Operation]:
        """Return the operations on channels, for those who have no socket."""
        telemetry = self._twins.telemetry
        channels = ChannelParts(live, beginnings, telemetry, self._clock, presence.rooms, self._pressure)
        self._stack.push_async_callback(channels.close)
        return channels.operations()

    def _make_life(self, database_url: str) -> KnowledgeLifeParts:
        life = KnowledgeLifeParts(self._settings, database_url, self._clock)
        self._stack.push_async_callback(life.close)
        return life

    def _wake(self) -> None:
        """Tell who waits for the log that it has more."""
        self._webhooks.pusher.wake()

    async def _close(self) -> None:
        await self._stack.aclose()


def _rendering(rest: RestDoor) -> Callable[[web.Request, HubError], web.Response]:
    """Return what writes an error as REST's door does, for those that know no other."""
    return lambda request, error: rest.error_response(error, request)
