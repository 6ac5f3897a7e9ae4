"""The log's epoch: a new one begins when the log may not be what clients have seen.

That is: another database cluster or timeline than the one that the epoch was written on (a restored backup, a promoted standby), or
a log that ends below what was already published. Positions of two epochs are never compared.
"""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from uuid import UUID

import structlog

from core.store.database import Connection, connect_as
from core.store.queries import load_queries

_SQL = load_queries(Path(__file__).with_name("epoch.sql"))
_LOCK = 0x68756265  # 'hube'

Tops = Callable[[str], Awaitable[Mapping[UUID, int]]]


async def settle_epoch(url: str, tops: Tops) -> str:
    """Return the log's epoch, beginning a new one where the log is not the one that clients know.

    `tops(epoch)` gives the highest position published by organisation, as far as Redis still knows it. It is asked before the
    heads are read: a head never falls, so one that is below was lost.
    """
    connection = await connect_as(url, "hub_system")
    try:
        async with connection.transaction():
            await connection.execute(_SQL["lock"].replace("$1", str(_LOCK)))
            current = await connection.fetchrow(_SQL["current"])
            server = await connection.fetchrow(_SQL["server"])
            assert server is not None  # noqa: S101 - the query has one row
            reason = "first start"
            if current is not None:
                known = (current["system_identifier"], current["timeline"])
                if known != (server["system_identifier"], server["timeline"]):
                    reason = "another database cluster or timeline"
                elif await _lost(connection, await tops(current["epoch"])):
                    reason = "the log ends below what was published"
                else:
                    return current["epoch"]
            return await _begin(connection, server["system_identifier"], server["timeline"], reason)
    finally:
        await connection.close()


async def new_epoch(url: str) -> str:
    """Begin a new epoch by hand, as is needed after every restore. Returns it."""
    connection = await connect_as(url, "hub_system")
    try:
        async with connection.transaction():
            server = await connection.fetchrow(_SQL["server"])
            assert server is not None  # noqa: S101 - the query has one row
            return await _begin(connection, server["system_identifier"], server["timeline"], "asked for")
    finally:
        await connection.close()


async def _lost(connection: Connection, tops: Mapping[UUID, int]) -> bool:
    heads = {row["org_id"]: row["position"] for row in await connection.fetch(_SQL["heads"], list(tops))}
    return any(heads.get(org_id, 0) < top for org_id, top in tops.items())


async def _begin(connection: Connection, system_identifier: str, timeline: int, reason: str) -> str:
    epoch = secrets.token_hex(4)
    await connection.execute(_SQL["write"], epoch, system_identifier, timeline)
    structlog.get_logger().info("log_epoch_begun", epoch=epoch, reason=reason)
    return epoch
