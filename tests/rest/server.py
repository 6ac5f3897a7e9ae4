"""The REST door over a real server, with the real runner, authenticator and database; and a client for it."""

import asyncio
import io
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any
from uuid import UUID

import aiohttp
import orjson
from aiohttp import web

from core.auth.authenticator import Authenticator
from core.auth.caller import Caller
from core.auth.limiter import Limiter
from core.auth.signing import SigningKeys, TokenIssuer
from core.auth.tickets import Tickets
from core.auth.tokens import TokenVerifier
from core.clock import SystemClock
from core.errors import CATALOGUE, HubError
from core.events.log import LogReader
from core.ids import new_id
from core.jobs.jobs import Jobs
from core.operations.audit import AuditTrail
from core.operations.idempotency import IdempotencyKeys
from core.operations.operation import Operation, Registry
from core.operations.runner import Runner
from core.outbound import Outbound
from core.pressure import Pressed
from core.settings import Network, Settings
from core.store.database import Database
from core.store.redis import Redis, connect_redis
from handlers.agents.executions.following import Executing
from handlers.agents.executions.happenings import EXECUTIONS
from handlers.agents.operations import Agents
from handlers.audit.operations import Audit
from handlers.channels.operations import Channels
from handlers.chats.operations import Chats
from handlers.connections.operations import Connections, Found
from handlers.events.notices import NOTICES
from handlers.events.operations import Events
from handlers.events.types import EventTypes
from handlers.jobs.operations import JobOperations
from handlers.keys.operations import Keys
from handlers.knowledge.answering.operations import KnowledgeQueries
from handlers.knowledge.answering.writing import Writer
from handlers.knowledge.documents.fetching import Fetcher
from handlers.knowledge.documents.operations import Documents
from handlers.knowledge.documents.queueing import Queue
from handlers.knowledge.evaluation.operations import KnowledgeEvaluation
from handlers.knowledge.life.operations import KnowledgeLife
from handlers.knowledge.life.query_log import Query
from handlers.knowledge.moving.operations import KnowledgeMoves
from handlers.knowledge.operations import Knowledge
from handlers.knowledge.retrieval.index import Index
from handlers.knowledge.retrieval.retriever import Retriever
from handlers.lists.held import Choice, Picked
from handlers.models.providers import Models
from handlers.namespaces.operations import Namespaces
from handlers.subscriptions.wiring import subscription_operations
from handlers.tickets.operations import StreamTickets
from handlers.tokens.operations import Tokens
from handlers.twins.operations import Twins
from handlers.twins.simulations.following import Watching
from hub.agents import AgentOperations
from hub.twins import TelemetryParts, TwinOperations
from hub.webhooks import WebhookParts
from rest.door import RestDoor
from rest.routes import Version
from rooms.amending import Amending
from rooms.fence import Fence
from rooms.live import Published
from rooms.live_following import Following
from rooms.live_store import LiveStore
from rooms.names import Channel, may_join, may_publish, parse_channel
from rooms.namespaces import Namespaces as Table
from rooms.pace import Paces
from rooms.recovery import Bookmark
from tests.harness.clock import ManualClock
from tests.harness.installation import secret_of
from tests.harness.limiters import PATIENT_SECONDS
from tests.harness.outside import LOOPBACK, Hosts
from tests.harness.waiting import eventually

DEADLINE_SECONDS = 60.0
# Of an organisation, together.
MOST_DOCUMENT_BYTES = 1 << 30
OWN = "aimatrix-hub:of-tests"
NOWHERE = "postgresql://nobody@/none?host=/nowhere"
NOWHERE_REDIS = "unix:///nowhere/redis"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body; every body of the door is JSON."""
        assert self.headers["Content-Type"] == "application/json", self.headers
        return orjson.loads(self.body)

    def error(self, status: int, code: str) -> dict[str, Any]:
        """Return the error, after all that holds of every error was checked."""
        assert self.status == status, (self.status, self.body)
        body = self.json()
        assert set(body) == {"error"}
        error = body["error"]
        assert list(error) == ["code", "message", "details", "request_id", "timestamp"]
        assert error["code"] == code
        assert CATALOGUE[code].status == status
        assert isinstance(error["message"], str)
        assert error["message"]
        for detail in error["details"]:
            assert set(detail) == {"field", "code", "message"}
            assert all(isinstance(value, str) for value in detail.values())
        assert error["request_id"] == self.headers["X-Request-Id"]
        assert error["timestamp"].endswith("Z")
        assert self.headers["X-Content-Type-Options"] == "nosniff"
        assert ("WWW-Authenticate" in self.headers) == (status == 401)
        return error


class RestServer:
    """A served door. `ready` is what /readyz says; `paths` are all that it has, with the names in them."""

    def __init__(self, port: int, session: aiohttp.ClientSession, operations: Registry, trail: AuditTrail) -> None:
        self.trail = trail
        self.port = port
        self.operations = operations
        self.ready = True
        self.paths: frozenset[str] = frozenset()
        self._session = session

    async def call(
        self,
        method: str,
        path: str,
        key: str | None = None,
        *,
        body: Any = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request; `body` goes as JSON, `data` as it is and without a Content-Type."""
        sent = dict(headers or {})
        if key is not None:
            sent["Authorization"] = f"Bearer {key}"
        if body is not None:
            data = orjson.dumps(body)
            sent.setdefault("Content-Type", "application/json")
        url = f"http://127.0.0.1:{self.port}{path}"
        async with self._session.request(
            # aiohttp's client wants large bodies as files.
            method,
            url,
            data=io.BytesIO(data) if data else data,
            headers=sent,
            skip_auto_headers=("Content-Type",),
            allow_redirects=False,
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Open a bare connection, for what no proper client sends."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                yield reader, writer
            finally:
                writer.close()

    async def send(self, data: bytes) -> Answer:
        """Send bytes, read the first answer, hang up."""
        async with self.connection() as (reader, writer):
            writer.write(data)
            return await read_answer(reader)


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """Read one answer to a request that was not HEAD."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name: value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("Content-Length", "0")))
    return Answer(int(head[0].split(" ")[1]), headers, body)


def head(method: str, path: str, key: str, *lines: str) -> bytes:
    """Return the head of a request."""
    return "\r\n".join(
        (f"{method} {path} HTTP/1.1", "Host: hub", f"Authorization: Bearer {key}", *lines, "", "")
    ).encode()


def resource_operations() -> dict[str, Operation]:
    """Return the operations on resources by name."""
    return {item.name: item for kind in (Agents(), Knowledge(), Twins()) for item in kind.operations()}


def reading_operations() -> dict[str, Operation]:
    """Return the operations on what has happened by name."""
    queries = KnowledgeQueries(Retriever(), Writer(None, SystemClock()), SystemClock(), NoLog())
    evaluation = KnowledgeEvaluation(Retriever(), SystemClock())
    kinds = (Events(), event_types(), Audit(), KnowledgeLife(), KnowledgeMoves(), queries, evaluation)
    return {item.name: item for kind in kinds for item in kind.operations()}


@cache
def _settings() -> Settings:
    # What reading them anew takes would be a tenth of a small test.
    return Settings.load()


@cache
def event_types() -> EventTypes:
    """Return the types of events, as the hub has them; it makes them once, and so do its tests."""
    kinds = (Agents(), Knowledge(), Twins())
    return EventTypes([*EXECUTIONS, *NOTICES, *(each for kind in kinds for each in kind.event_types())])


def credential_operations(
    database: Database, database_url: str, redis: Redis, secret: str, clock: ManualClock
) -> list[Operation]:
    """Return the operations on credentials, with parts that connect when they are first used."""
    issuer = TokenIssuer(SigningKeys(database, database_url, secret, clock), name=OWN, audience="api.aimatrix.com")
    tickets = StreamTickets(Tickets(redis, secret, clock))
    jobs = JobOperations(Jobs(clock, lambda: None))
    kinds = (Keys(secret), Tokens(issuer), tickets, Connections(NoStreams()), jobs)
    subscriptions = subscription_operations(
        database, LogReader(database), NoNews(clock), clock, lambda: None, Counter()
    )
    # Nothing is pushed: the REST door alone has no worker. No name leads outside of this machine.
    hosts = Hosts({"localhost": ["127.0.0.1"]})
    webhooks = WebhookParts(_settings(), database_url, secret, clock, lambda: None, hosts)
    fetcher = Fetcher(Outbound(LOOPBACK, clock, hosts))
    queue = Queue(Jobs(clock, lambda: None))
    agents = AgentOperations(
        Jobs(clock, lambda: None),
        NoRooms(),
        Models(_settings(), clock),
        Executing(database, NoOpenings(), clock),
        clock,
        lambda: None,
    )
    watching = Watching(database, NoOpenings(), clock)
    telemetry = TelemetryParts(_settings(), database, NoRooms(), clock, lambda: None).telemetry
    twins = TwinOperations(Jobs(clock, lambda: None), Twins(), watching, telemetry, clock, lambda: None)
    table = Table()
    spaces = (Namespaces(table, lambda: None), Chats(Amending(LiveStore(redis, table), NoRooms()), table, lambda: None))
    channels = Channels(OneRoom(), clock, Nobody())
    documents = Documents(database, queue, Index(), fetcher, clock, MOST_DOCUMENT_BYTES)
    kinds = (*kinds, *spaces, documents, agents, twins, channels)
    return [*(item for kind in kinds for item in kind.operations()), *subscriptions, *webhooks.operations()]


class NoRooms:
    """Nobody is told of anything: the REST door alone has no live rooms."""

    async def publish(
        self, org_id: UUID, channel: str, type: str, data: bytes, *, source: str, fence: Fence | None = None
    ) -> Published:
        raise HubError("SERVICE_UNAVAILABLE")


class OneRoom:
    """Stands for all live rooms: what is said there is counted, and forgotten."""

    def __init__(self) -> None:
        self._said = 0

    async def publish(self, caller: Caller, name: str, data: bytes, paces: Paces) -> Mapping[str, Any]:
        may_publish(caller, parse_channel(name))
        self._said += 1
        return {"offset": str(self._said), "epoch": "e", "event_id": str(new_id())}

    async def history(
        self, caller: Caller, name: str, mark: Bookmark, paces: Paces, *, before: int | None, limit: int
    ) -> Mapping[str, Any]:
        may_join(caller, parse_channel(name))
        return {"channel": name, "offset": str(self._said), "epoch": "e", "recovered": True, "events": []}

    def channel(self, caller: Caller, name: str) -> Channel:
        return parse_channel(name)

    async def check_known(self, caller: Caller, channel: Channel) -> None:
        may_join(caller, channel)


class Nobody:
    """Is everywhere."""

    async def members(self, org_id: UUID, channel: str, after: str | None, limit: int) -> "Nobody":
        return self

    def shown(self) -> Mapping[str, Any]:
        return {"version": "0", "epoch": "e", "count": {"members": 0, "connections": 0}, "members": [], "next": None}


class NoOpenings:
    """Nothing is heard, only looked for: the REST door alone has no live rooms."""

    def following(self, caller: Caller, channel: str) -> AbstractAsyncContextManager[tuple[str | None, Following]]:
        _ = caller, channel
        raise HubError("SERVICE_UNAVAILABLE")


class NoLog:
    """Takes questions, and keeps none."""

    def note(self, entry: Query) -> None:
        _ = entry


class NoNews:
    """Tells of no event before the time is up: the REST door alone has no feeds."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock

    @asynccontextmanager
    async def following(self, org_id: UUID) -> AsyncGenerator["NoNews"]:
        yield self

    async def wait(self, seconds: float) -> None:
        await self._clock.sleep(seconds)


class NoStreams:
    """A directory without streams: the REST door alone has none."""

    async def list(self, org_id: UUID, choice: Choice) -> Found:
        return Found(Picked([], 0), is_whole=True)

    async def find(self, org_id: UUID, id: str) -> None:
        return None

    async def end(self, org_id: UUID, id: str) -> bool:
        return False


def operations() -> dict[str, Operation]:
    """Return the hub's operations by name, to look at; those on credentials reach nothing."""
    unreachable = credential_operations(
        Database(NOWHERE, role=None), NOWHERE, connect_redis(NOWHERE_REDIS), "", ManualClock()
    )
    return resource_operations() | reading_operations() | {item.name: item for item in unreachable}


@asynccontextmanager
async def serve(
    database_url: str,
    clock: ManualClock,
    declared: Iterable[Operation],
    more: Iterable[web.RouteDef] = (),
    *,
    redis_url: str = NOWHERE_REDIS,
    off: Sequence[Version] = (),
    debug: bool = False,
    trusted: Sequence[Network] = (),
    pressure: Pressed | None = None,
) -> AsyncGenerator[RestServer]:
    """Serve the door; `more` are another door's routes, put in after it. Operations on credentials are made here."""
    database = Database(database_url, role="hub_app", size=4)
    await database.open()
    secret = await secret_of(database_url)
    redis = connect_redis(redis_url)
    credentials = {item.name: item for item in credential_operations(database, database_url, redis, secret, clock)}
    registry = Registry.of((reading_operations() | {item.name: item for item in declared} | credentials).values())
    keys = SigningKeys(database, database_url, secret, clock)
    tokens = TokenVerifier(issuer="aimatrix.com", audience="api.aimatrix.com", keys=None, clock=clock, own={OWN: keys})
    authenticator = Authenticator(database, secret, tokens, clock)
    trail = AuditTrail(database_url, clock)
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession() as session, _limiting(redis_url, redis, clock) as limiter:
        runner = Runner(database, trail, clock, lambda: None, limiter, IdempotencyKeys(secret))
        served = RestServer(0, session, registry, trail)
        options: dict[str, Any] = {"debug": debug, "trusted": trusted, "pressure": pressure}
        door = RestDoor(runner, registry, authenticator, clock, lambda: served.ready, off, **options)
        app = web.Application()
        door.add_to(app)
        served.paths = frozenset(resource.canonical for resource in app.router.resources())
        app.add_routes(more)
        apps = web.AppRunner(app)
        await apps.setup()
        assert isinstance(apps.server, web.Server)
        server = apps.server
        listener = await loop.create_server(lambda: door.protocol(server, loop=loop, access_log=None), "127.0.0.1", 0)
        served.port = listener.sockets[0].getsockname()[1]
        try:
            yield served
        finally:
            listener.close()
            await apps.cleanup()
            await authenticator.close()
            await trail.flush()
            await trail.close()
            await redis.aclose()
            await database.close()


@asynccontextmanager
async def _limiting(redis_url: str, redis: Redis, clock: ManualClock) -> AsyncGenerator[Limiter]:
    """Give a node's limiter; without Redis it counts alone, and its tries to connect would be work for the clock."""
    # No hour ends in the middle of a test.
    limiter = Limiter(redis_url, redis, clock, look=PATIENT_SECONDS, time=lambda: round(clock.now().timestamp() * 1e6))
    running = asyncio.create_task(limiter.run() if redis_url != NOWHERE_REDIS else asyncio.sleep(0))
    if redis_url != NOWHERE_REDIS:
        await eventually(lambda: limiter.connected)
    try:
        yield limiter
    finally:
        running.cancel()
        await asyncio.wait({running})
        limiter.close()


def is_http_date(text: str) -> bool:
    """Tell whether `text` is a date of RFC 9110, section 5.6.7, whose weekday is right."""
    return parsedate_to_datetime(text).strftime("%a, %d %b %Y %H:%M:%S GMT") == text
