"""What is published, and the publisher that goes the whole way: through SQL into the outbox."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson

from benchmarks.job import MARK, NUMBER
from core.events.event import NewEvent, new_event
from core.ids import new_id
from core.store.database import connect_as
from core.store.redis import Redis, connect_redis
from hub.pokes import CHANNEL as POKES

_INSERT = """
    INSERT INTO outbox (org_id, event_id, type, subject, channel, time, envelope, short)
    VALUES (current_org(), $1, $2, $3, $4, $5, $6, $7)
"""

_INSERT_ALL = """
    INSERT INTO outbox (org_id, event_id, type, subject, channel, time, envelope, short)
    SELECT current_org(), event.* FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::text[],
                                              $7::text[]) AS event
"""

# All servers carry the same events; what they put around them is theirs.
EVENT_BYTES = 256


class OutboxPublisher:
    """Commits events as another program of the organisation would, one a transaction, and pokes the relay through Redis."""

    def __init__(self, connections: list[Any], redis: Redis) -> None:
        self._connections = connections
        self._statements: list[Any] = []
        self._redis = redis
        self._event = event_factory()
        self._unsaid = False
        self._speaking = False

    @classmethod
    async def open(cls, database_url: str, redis_url: str, org_id: UUID, slots: int) -> "OutboxPublisher":
        """Connect as hub_app, for the organisation: `slots` transactions can be under way."""
        made = cls([await connect_as(database_url, "hub_app") for _ in range(slots)], connect_redis(redis_url))
        for connection in made._connections:
            await connection.execute("SELECT set_config('hub.org_id', $1, false)", str(org_id))
            made._statements.append(await connection.prepare(_INSERT))
        return made

    async def publish(self, slot: int, number: int) -> None:
        """Commit one event, and see that the relay hears of it. As many can be under way as there are slots."""
        event = self._event(number)
        await self._statements[slot].fetch(
            event.id, event.type, event.subject, event.channel, event.time, event.envelope, event.short
        )
        self._unsaid = True
        if not self._speaking:
            await self._poke()

    async def publish_all(self, numbers: range) -> None:
        """Commit that many events in one transaction."""
        events = [self._event(number) for number in numbers]
        columns = zip(*((e.id, e.type, e.subject, e.channel, e.time, e.envelope, e.short) for e in events), strict=True)
        await self._connections[0].execute(_INSERT_ALL, *columns)
        await self._redis.spublish(POKES, b"1")

    async def close(self) -> None:
        """Close its connections."""
        for connection in self._connections:
            await connection.close()
        await self._redis.aclose()

    async def _poke(self) -> None:
        # One poke is under way at a time, and stands for all commits before it.
        self._speaking = True
        try:
            while self._unsaid:
                self._unsaid = False
                await self._redis.spublish(POKES, b"1")
        finally:
            self._speaking = False


def event_factory() -> Callable[[int], NewEvent]:
    """Return what makes the events: an agent that is updated again and again, numbered, EVENT_BYTES long as JSON."""
    agent_id = new_id()

    def make(number: int) -> NewEvent:
        return _event(agent_id, new_id(), f"#{number:0{len(NUMBER)}}#")

    return make


def event_template() -> str:
    """Return the JSON of such an event with places for its number, see job.NUMBER."""
    agent_id = new_id()
    event_id = str(new_id())
    event = _event(agent_id, UUID(event_id), MARK)
    # Each has an id of its own.
    return event.envelope.replace(event_id, event_id[: -len(NUMBER)] + NUMBER)


def _event(agent_id: UUID, event_id: UUID, mark: str) -> NewEvent:
    def make(text: str) -> NewEvent:
        return new_event(
            event_id=event_id,
            type="agent.updated",
            subject=f"agents/{agent_id}",
            time=datetime.now(UTC).replace(microsecond=123456),
            data=orjson.dumps({"mark": mark, "text": text}).decode(),
            short=None,
        )

    return make("." * (EVENT_BYTES - len(make("").envelope)))
