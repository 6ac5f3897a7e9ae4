"""The hub's operations as the REST door declares them, over parts that stand for what it has nothing of: rooms, streams, feeds."""

from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from typing import Any
from uuid import UUID

from core.auth.caller import Caller
from core.auth.signing import SigningKeys, TokenIssuer
from core.auth.tickets import Tickets
from core.clock import SystemClock
from core.errors import HubError
from core.events.log import LogReader
from core.ids import new_id
from core.jobs.jobs import Jobs
from core.operations.operation import Operation
from core.outbound import Outbound
from core.settings import Settings
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
from tests.harness.outside import LOOPBACK, Hosts

# Of an organisation, together.
MOST_DOCUMENT_BYTES = 1 << 30
OWN = "aimatrix-hub:of-tests"
NOWHERE = "postgresql://nobody@/none?host=/nowhere"
NOWHERE_REDIS = "unix:///nowhere/redis"


def operations() -> dict[str, Operation]:
    """Return the hub's operations by name, to look at; those on credentials reach nothing."""
    return dict(_all())


@cache
def _all() -> Mapping[str, Operation]:
    unreachable = credential_operations(
        Database(NOWHERE, role=None), NOWHERE, connect_redis(NOWHERE_REDIS), "", ManualClock()
    )
    return resource_operations() | reading_operations() | {item.name: item for item in unreachable}


@cache
def _on_resources() -> Mapping[str, Operation]:
    # They make models of the forms that are shown, and keep nothing of a test.
    return {item.name: item for kind in (Agents(), Knowledge(), Twins()) for item in kind.operations()}


def resource_operations() -> dict[str, Operation]:
    """Return the operations on resources by name."""
    return dict(_on_resources())


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
    telemetry = TelemetryParts(_settings(), database, NoRooms(), clock, lambda: None, None).telemetry
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
