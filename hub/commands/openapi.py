"""`python -m hub openapi`: print the document that `/openapi.json` serves. No engine is asked: operations are only looked at."""

import argparse
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any
from uuid import UUID

import orjson

from core.auth.caller import Caller
from core.auth.signing import SigningKeys, TokenIssuer
from core.auth.tickets import Tickets
from core.clock import SystemClock
from core.events.log import LogReader
from core.jobs.jobs import Jobs
from core.operations.operation import Registry
from core.settings import Settings
from core.store.database import Database
from core.store.redis import connect_redis
from handlers.agents.executions.following import Executing
from handlers.channels.operations import Channels
from handlers.chats.operations import Chats
from handlers.connections.operations import Connections, Found
from handlers.jobs.operations import JobOperations
from handlers.keys.operations import Keys
from handlers.knowledge.life.query_log import Query
from handlers.lists.held import Choice, Picked
from handlers.models.providers import Models
from handlers.namespaces.operations import Namespaces
from handlers.subscriptions.wiring import subscription_operations
from handlers.tickets.operations import StreamTickets
from handlers.tokens.operations import Tokens
from handlers.twins.operations import Twins
from handlers.twins.simulations.following import Watching
from hub.agents import AgentOperations
from hub.knowledge import KnowledgeParts
from hub.registering import registry
from hub.twins import TelemetryParts, TwinOperations
from hub.webhooks import WebhookParts
from rest.door import VERSIONS as API_VERSIONS
from rest.openapi.door import documents
from rooms.amending import Amending
from rooms.fence import Fence
from rooms.live import Published
from rooms.live_following import Following
from rooms.live_store import LiveStore
from rooms.names import Channel
from rooms.namespaces import Namespaces as Table
from rooms.pace import Paces
from rooms.recovery import Bookmark

VERSIONS = ("3.1", "3.0")
_NOWHERE = "postgresql://nobody@/none?host=/nowhere"
_NOWHERE_REDIS = "unix:///nowhere/redis"


async def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print it, indented, with the versions that the settings have on."""
    served = [version for version in API_VERSIONS if settings.v1 or version.name != "v1"]
    found = documents(_unconnected(settings), served)[arguments.version]
    print(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())  # noqa: T201 - what the command is for
    return 0


def _unconnected(settings: Settings) -> Registry:
    clock = SystemClock()
    database, redis = Database(_NOWHERE, role=None), connect_redis(_NOWHERE_REDIS)
    issuer = TokenIssuer(SigningKeys(database, _NOWHERE, "", clock), name="", audience="")
    tickets = StreamTickets(Tickets(redis, "", clock))
    jobs = JobOperations(Jobs(clock, lambda: None))
    kinds = (Keys(""), Tokens(issuer), tickets, Connections(_NoStreams()), Channels(_NoSpeech(), clock), jobs)
    subscriptions = subscription_operations(database, LogReader(database), _NoNews(), clock, lambda: None, Counter())
    webhooks = WebhookParts(settings, _NOWHERE, "", clock, lambda: None).operations()
    models = Models(settings, clock)
    knowledge = KnowledgeParts(settings, database, models, clock, lambda: None)
    of_knowledge = knowledge.operations(Jobs(clock, lambda: None), _NoNotes())
    later = Jobs(clock, lambda: None)
    agents = AgentOperations(later, _NoRooms(), models, Executing(database, _NoOpenings(), clock), clock, lambda: None)
    watching = Watching(database, _NoOpenings(), clock)
    measuring = TelemetryParts(settings, database, _NoRooms(), clock, lambda: None, None)
    twins = TwinOperations(later, Twins(), watching, measuring.telemetry, clock, lambda: None)
    table = Table()
    chats = Chats(Amending(LiveStore(redis, table), _NoRooms()), table, lambda: None)
    of_kinds = (each for kind in (*kinds, Namespaces(table, lambda: None), chats) for each in kind.operations())
    return registry([*of_kinds, *of_knowledge, *agents.operations(), *twins.operations(), *subscriptions, *webhooks])


class _NoNotes:
    """A log of queries that nobody asks anything."""

    def note(self, entry: Query) -> None:
        return None


class _NoRooms:
    """Rooms that nobody is told anything in."""

    async def publish(
        self, org_id: UUID, channel: str, type: str, data: bytes, *, source: str, fence: Fence | None = None
    ) -> Published:
        raise NotImplementedError


class _NoSpeech:
    """Rooms that nobody speaks in."""

    def channel(self, caller: Caller, name: str) -> Channel:
        raise NotImplementedError

    async def publish(self, caller: Caller, name: str, data: bytes, paces: Paces) -> Mapping[str, Any]:
        raise NotImplementedError

    async def history(
        self, caller: Caller, name: str, mark: Bookmark, paces: Paces, *, before: int | None, limit: int
    ) -> Mapping[str, Any]:
        raise NotImplementedError

    async def check_known(self, caller: Caller, channel: Channel) -> None:
        raise NotImplementedError


class _NoOpenings:
    """Rooms that nobody reads."""

    def following(self, caller: Caller, channel: str) -> AbstractAsyncContextManager[tuple[str | None, Following]]:
        raise NotImplementedError


class _NoNews:
    """Arrivals that nobody waits for."""

    def following(self, org_id: UUID) -> AbstractAsyncContextManager["_NoNews"]:
        return nullcontext(self)

    async def wait(self, seconds: float) -> None:
        return None


class _NoStreams:
    """A directory without streams."""

    async def list(self, org_id: UUID, choice: Choice) -> Found:
        return Found(Picked([], 0), is_whole=True)

    async def find(self, org_id: UUID, id: str) -> None:
        return None

    async def end(self, org_id: UUID, id: str) -> bool:
        return False
