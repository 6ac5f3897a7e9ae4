"""Reading the log by position: the whole of an organisation, or what concerns some channels."""

from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from core.events.event import Entry, LogHead, namespace_of
from core.store.database import Database
from core.store.queries import load_queries
from core.store.statements import Statements

_SQL = load_queries(Path(__file__).with_name("log.sql"))


class LogReader:
    """Reads as the application does, so row-level security holds here too.

    Every method raises HubError SERVICE_UNAVAILABLE while PostgreSQL is away.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def head(self, org_id: UUID) -> LogHead:
        """Return where the organisation's log ends; what is committed up to there can be read."""
        async with self._database.read(org_id) as db:
            row = await db.fetchrow(_SQL["head"], org_id)
        return LogHead(row["epoch"], row["position"])

    async def range(self, org_id: UUID, *, after: int, upto: int, limit: int) -> list[Entry]:
        """Return the entries after `after` and up to `upto`, in order and without gaps; at most `limit`."""
        async with self._database.read(org_id) as db:
            return _entries(await db.fetch(_SQL["everything"], org_id, after, upto, limit))

    async def read(self, org_id: UUID, channels: Collection[str], *, after: int, upto: int, limit: int) -> list[Entry]:
        """Return the entries of any of `channels` after `after` and up to `upto`, in order, each once; at most `limit`."""
        namespaces = {channel for channel in channels if ":" not in channel}
        single = {channel for channel in channels if namespace_of(channel) not in namespaces}
        async with self._database.read(org_id) as db:
            rows = await db.fetch(_SQL["of_channels"], org_id, list(namespaces), list(single), after, upto, limit)
        return _entries(rows)

    async def read_timed(
        self, org_id: UUID, channel: str, *, after: int, upto: int, limit: int
    ) -> list[tuple[Entry, datetime]]:
        """Return as `read` the entries of one channel, each with when it was recorded: that never falls."""
        query = _SQL["of_channel_with_times"] if ":" in channel else _SQL["of_namespace_with_times"]
        async with self._database.read(org_id) as db:
            rows = await db.fetch(query, org_id, channel, after, upto, limit)
        return list(zip(_entries(rows), [row["recorded_at"] for row in rows], strict=True))

    async def position_at(self, org_id: UUID, moment: datetime) -> int:
        """Return the highest position that was given not later than `moment`; 0 where there is none."""
        async with self._database.read(org_id) as db:
            return await position_at(db, org_id, moment)

    async def position_of(self, org_id: UUID, event_id: UUID) -> int | None:
        """Return an event's position; None while it has none, or where the organisation has no such event."""
        async with self._database.read(org_id) as db:
            return await db.fetchval(_SQL["position_of"], org_id, event_id)


async def position_at(db: Statements, org_id: UUID, moment: datetime) -> int:
    """Return the highest position that was given not later than `moment`; 0 where there is none."""
    return await db.fetchval(_SQL["position_at"], org_id, moment)


async def head_position(db: Statements, org_id: UUID) -> int:
    """Return the last position, 0 of an empty log."""
    return (await db.fetchrow(_SQL["head"], org_id))["position"]


def _entries(rows: list[Any]) -> list[Entry]:
    return [Entry(row["position"], row["channel"], row["envelope"]) for row in rows]
