"""The log in a test's PostgreSQL, written without a relay, and feeds over a real Redis."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from core.clock import Clock, SystemClock
from core.events.event import Entry
from core.events.log import LogReader
from core.ids import new_id
from core.store.database import Database, connect_as
from core.store.redis import Redis, connect_redis
from rooms.feed import Feeds
from rooms.tail import Tails
from tests.rooms.model import Recording

_INSERT = """
WITH head AS (UPDATE heads SET position = position + $3 WHERE org_id = $1 RETURNING position - $3 AS before)
INSERT INTO events (org_id, position, event_id, type, subject, channel, time, recorded_at, envelope)
SELECT $1, head.before + n, ids.id, 'agent.updated', 'agents/x', 'agents:' || n % 3, now(), now(), '{"n":' || head.before + n || '}'
FROM head, unnest($2::uuid[]) WITH ORDINALITY AS ids (id, n)
RETURNING position, channel, envelope
"""
_EPOCH = """
INSERT INTO log_epoch (epoch, system_identifier, timeline) VALUES ($1, 'test', 1)
ON CONFLICT (only_row) DO UPDATE SET epoch = excluded.epoch
"""


class LogWriter:
    """Commits events of one organisation and publishes them, as a relay would."""

    def __init__(self, connection: Any, redis: Redis, org_id: UUID) -> None:
        self.epoch = ""
        self.entries: list[Entry] = []
        self.published = 0
        self.tails = Tails(redis)
        self.redis = redis
        self._connection = connection
        self._org_id = org_id

    async def begin(self, epoch: str) -> None:
        """Begin an epoch."""
        await self._connection.execute(_EPOCH, epoch)
        self.epoch = epoch

    async def commit(self, count: int) -> list[Entry]:
        """Commit events; they are not published yet."""
        rows = await self._connection.fetch(_INSERT, self._org_id, [new_id() for _ in range(count)], count)
        made = [Entry(row["position"], row["channel"], row["envelope"]) for row in rows]
        self.entries += made
        return made

    async def publish(self) -> None:
        """Publish what is not known to be published; raises when Redis is away, and then it is not known."""
        await self.tails.publish(self._org_id, self.epoch, self.entries[self.published :])
        self.published = len(self.entries)

    async def write(self, count: int) -> None:
        """Commit and publish."""
        await self.commit(count)
        await self.publish()


class World:
    """One node's feeds, the log that they read, and who writes it."""

    def __init__(self, writer: LogWriter, log: LogReader, feeds: Feeds, sink: Recording) -> None:
        self.writer = writer
        self.log = log
        self.feeds = feeds
        self.sink = sink


@asynccontextmanager
async def world(
    database_url: str, redis_url: str, org_id: UUID, *, feed_url: str | None = None, clock: Clock | None = None
) -> AsyncGenerator[World]:
    """Open everything; `feed_url` is where the feeds find Redis when it is not where the writer does."""
    database = Database(database_url, role="hub_app", size=3)
    connection = await connect_as(database_url, "hub_system")
    redis = connect_redis(redis_url)
    sink = Recording()
    log = LogReader(database)
    feeds = Feeds(feed_url or redis_url, tails=Tails(redis), log=log, clock=clock or SystemClock(), sink=sink)
    writer = LogWriter(connection, redis, org_id)
    await writer.begin("e1")
    await feeds.open()
    running = asyncio.ensure_future(feeds.run())
    try:
        yield World(writer, log, feeds, sink)
        assert not running.done(), running.result()
    finally:
        running.cancel()
        await feeds.close()
        await redis.aclose()
        await connection.close()
        await database.close()
