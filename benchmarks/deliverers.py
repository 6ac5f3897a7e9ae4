"""Who delivers committed events to one receiver: the hub in three ways, and others that do the same."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID, uuid4

import aiohttp
import psutil
import redis.asyncio as redis_asyncio

from benchmarks.bench import Bench
from benchmarks.contenders import Weighed, redis_process
from benchmarks.generator import hub_joining, joined
from benchmarks.hub_under_test import HubUnderTest, Organisation
from benchmarks.job import Crowd
from benchmarks.log_contender import database_process
from benchmarks.published import Arriving, Publishing
from benchmarks.publisher import OutboxPublisher, event_template
from benchmarks.receivers import FIELD, GROUP, STREAM
from benchmarks.receiving import Receiver, receiving
from core.store.database import connect_as

# Transactions that can be under way while events are committed one by one.
SLOTS = 16
PULLERS = 4
MOST_PULLED = 250
MOST_CONSUMED = 1_000
_MEMBER_SECONDS = 300.0
NOTED_LOOKS = 50
_ATTEMPTS = "SELECT count(*) FROM attempts WHERE org_id = $1 AND subscription_id = $2 AND outcome = 'acknowledged'"


class Publisher(Publishing, Protocol):
    """Commits events one by one, or many at once."""

    async def publish_all(self, numbers: range) -> None:
        """Commit one event for each number."""
        ...


@dataclass(frozen=True, slots=True)
class Line:
    """From who commits to who receives; `server` and `brokers` are what works in between."""

    publisher: Publisher
    arriving: Arriving
    server: Weighed
    brokers: Sequence[psutil.Process]


class Deliverer(Protocol):
    """One of them. `per_second` is what it is paced at, `backlog` what it finds when it is asked how fast it is."""

    @property
    def key(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def per_second(self) -> float: ...

    @property
    def backlog(self) -> int: ...

    def opened(self) -> AbstractAsyncContextManager[Line]:
        """Return a line on which nothing is under way."""
        ...


@dataclass(frozen=True, slots=True)
class Engines:
    """The processes of the hub's engines."""

    redis: psutil.Process
    database: psutil.Process

    @classmethod
    async def of(cls, hub: HubUnderTest) -> "Engines":
        """Find them."""
        return cls(await redis_process(hub.redis_url), await database_process(hub.database_url))

    def all(self) -> list[psutil.Process]:
        """Return them as brokers."""
        return [self.redis, self.database]


@asynccontextmanager
async def asking(hub: HubUnderTest, organisation: Organisation) -> AsyncGenerator[aiohttp.ClientSession]:
    """Open an HTTP client of the organisation; what is not answered with a success is an error."""
    headers = {"Authorization": f"Bearer {organisation.key}"}
    # As many at once as are asked for: a hundred is what a session has by default.
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        f"http://{hub.server.address}", headers=headers, raise_for_status=True, connector=connector
    ) as session:
        yield session


@asynccontextmanager
async def subscribed(session: aiohttp.ClientSession, **fields: Any) -> AsyncGenerator[str]:
    """Make a subscription that is pulled; it is deleted on leaving."""
    new = {"name": f"bench-{uuid4().hex[:12]}", "max_in_flight": 10_000, **fields}
    async with session.post("/v2/subscriptions", json=new) as answer:
        id: str = (await answer.json())["id"]
    try:
        yield id
    finally:
        async with session.delete(f"/v2/subscriptions/{id}"):
            pass


class _Hub:
    """What the hub's ways have in common; `key` names the way."""

    def __init__(self, bench: Bench, engines: Engines, sizes: tuple[float, int]) -> None:
        self.per_second, self.backlog = sizes
        self._bench = bench
        self._hub = bench.hub
        self._engines = engines

    @asynccontextmanager
    async def _publishing(self) -> AsyncGenerator[OutboxPublisher]:
        hub = self._hub
        organisation = await hub.organisation("delivery")
        publisher = await OutboxPublisher.open(hub.database_url, hub.redis_url, organisation.id, SLOTS)
        try:
            yield publisher
        finally:
            await publisher.close()
            await hub.server.idle()

    def _line(self, publisher: OutboxPublisher, arriving: Arriving) -> Line:
        return Line(publisher, arriving, self._hub.server, self._engines.all())


class BySocket(_Hub):
    """A member of the log channel `agents`."""

    key, title = "hub-socket", "**the hub**, socket"

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Line]:
        """Join."""
        organisation = await self._hub.organisation("delivery")
        joining = hub_joining(organisation.key)
        async with (
            self._publishing() as publisher,
            joined(self._bench.generators, self._hub.server, joining, Crowd(1), seconds=_MEMBER_SECONDS) as members,
        ):
            yield self._line(publisher, members)


class ByPull(_Hub):
    """A durable subscription that is pulled and acknowledged on some connections."""

    key, title = "hub-pull", f"**the hub**, durable subscription, pulled by {PULLERS}"

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Line]:
        """Subscribe, and begin to pull."""
        organisation = await self._hub.organisation("delivery")
        async with (
            self._publishing() as publisher,
            asking(self._hub, organisation) as session,
            subscribed(session) as id,
            pulling(self._hub, organisation, id) as receiver,
        ):
            yield self._line(publisher, receiver)


class ByConsumer(_Hub):
    """A durable subscription that is consumed and acknowledged over one socket."""

    key, title = "hub-consumer", "**the hub**, durable subscription, consumed over a socket"

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Line]:
        """Subscribe, and begin to consume."""
        hub, organisation = self._hub, await self._hub.organisation("delivery")
        async with (
            self._publishing() as publisher,
            asking(hub, organisation) as session,
            subscribed(session, delivery="socket") as id,
            receiving("consume", {**_door(hub, organisation), "subscription": id, "most": MOST_CONSUMED}) as receiver,
        ):
            yield self._line(publisher, receiver)


class ByWebhook(_Hub):
    """A webhook: each event is signed and posted, and each attempt is kept."""

    key, title = "hub-webhook", "**the hub**, webhook, every attempt kept"

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Line]:
        """Make the webhook, and begin to answer."""
        organisation = await self._hub.organisation("delivery")
        async with (
            self._publishing() as publisher,
            receiving("hooks", {}) as receiver,
            asking(self._hub, organisation) as session,
            _hooked(session, f"http://127.0.0.1:{receiver.port}/") as id,
        ):
            yield self._line(publisher, receiver)
            await self._check(organisation.id, id, receiver)

    async def _check(self, org_id: UUID, id: str, receiver: Receiver) -> None:
        """Raise AssertionError where not every delivery has an attempt that is kept."""
        connection, kept = await connect_as(self._hub.database_url, "hub_system"), 0
        try:
            for _ in range(NOTED_LOOKS):
                kept = int(await connection.fetchval(_ATTEMPTS, org_id, UUID(id)) or 0)
                if kept >= receiver.taken:
                    return
                await asyncio.sleep(0.1)
        finally:
            await connection.close()
        raise AssertionError(f"{receiver.taken} deliveries, and {kept} attempts that are kept")


@asynccontextmanager
async def _hooked(session: aiohttp.ClientSession, url: str) -> AsyncGenerator[str]:
    async with session.post("/v2/webhooks", json={"url": url, "events": ["*"]}) as answer:
        id: str = (await answer.json())["id"]
    try:
        yield id
    finally:
        async with session.delete(f"/v2/webhooks/{id}"):
            pass


def pulling(
    hub: HubUnderTest, organisation: Organisation, subscription: str, *, connections: int = PULLERS
) -> AbstractAsyncContextManager[Receiver]:
    """Start who pulls a subscription."""
    told = {"subscription": subscription, "connections": connections, "most": MOST_PULLED}
    return receiving("pull", {**_door(hub, organisation), **told})


def _door(hub: HubUnderTest, organisation: Organisation) -> dict[str, Any]:
    return {"host": hub.server.host, "port": hub.server.port, "key": organisation.key}


class RedisStreams:
    """A consumer of a group of a Redis stream, and nothing else: no filter, no rights, nothing on disk before it is answered."""

    key, title = "redis-streams", "Redis Streams, a consumer group: XADD, XREADGROUP, XACK"

    def __init__(self, bench: Bench, engines: Engines, sizes: tuple[float, int]) -> None:
        self.per_second, self.backlog = sizes
        self._bench = bench
        self._engines = engines

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Line]:
        """Make the stream and its group, and begin to read."""
        url, cores = self._bench.hub.redis_url, self._bench.cores
        redis: Any = redis_asyncio.Redis.from_url(url)
        try:
            await redis.delete(STREAM)
            await redis.xgroup_create(STREAM, GROUP, id="$", mkstream=True)
            told = {"url": url, "most": MOST_PULLED}
            async with receiving("streams", told, cores=None if cores is None else cores.server) as receiver:
                yield Line(_StreamPublisher(redis), receiver, receiver, [self._engines.redis])
        finally:
            await redis.delete(STREAM)
            await redis.aclose()


class _StreamPublisher:
    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self._event = event_template()

    async def publish(self, slot: int, number: int) -> None:
        del slot
        await self._redis.xadd(STREAM, {FIELD: self._written(number)})

    async def publish_all(self, numbers: range) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        for number in numbers:
            pipeline.xadd(STREAM, {FIELD: self._written(number)})
        await pipeline.execute()

    def _written(self, number: int) -> str:
        return self._event.replace("NNNNNNNN", f"{number:08}")
