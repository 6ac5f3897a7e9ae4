"""Tails: an organisation's latest entries in Redis, which the nodes read before they ask PostgreSQL.

A tail is a help, never the truth: it may be gone, or begin late, or have holes after Redis lost data. So it answers a range whole
or not at all.
"""

from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from redis.exceptions import RedisError, ResponseError

from core.events.event import Entry
from core.store.redis import Redis, Script
from rooms.wire import decode, encode, feed_channel, tail_key

MAX_ENTRIES = 10_000
MAX_BYTES = 16 * 1024 * 1024
LIFETIME_SECONDS = 3600
# Entries of one script call: nothing else runs in Redis meanwhile.
BATCH = 500


class Tails:
    """The tails of all organisations; implements core.events.event.Publisher."""

    def __init__(self, redis: Redis, *, max_entries: int = MAX_ENTRIES, max_bytes: int = MAX_BYTES) -> None:
        self._redis = redis
        self._script = Script(Path(__file__).with_name("publish.lua"))
        self._bounds = (max_entries, max_bytes, LIFETIME_SECONDS)

    async def publish(self, org_id: UUID, epoch: str, entries: list[Entry]) -> None:
        """Publish entries, in position order. Entries at or below the highest ever published are ignored, not repeated.

        Raises RedisError or OSError when Redis does not do it; what part of `entries` went out is unknown then, and
        publishing all of them again is right.
        """
        key = tail_key(org_id, epoch)
        for start in range(0, len(entries), BATCH):
            args: list[str | bytes | int | float] = [feed_channel(org_id), *self._bounds]
            for entry in entries[start : start + BATCH]:
                args += (entry.position, encode(epoch, entry))
            await self._script.run(self._redis, [key, f"{key}:bytes"], args)

    async def read(self, org_id: UUID, epoch: str, *, after: int, upto: int) -> list[Entry] | None:
        """Return the entries after `after` up to `upto`, all of them; None where the tail lacks one, or Redis does not answer."""
        if upto <= after:
            return []
        rows = await self._answer(org_id, self._redis.xrange(tail_key(org_id, epoch), f"{after + 1}-0", f"{upto}-0"))
        entries = _entries(rows)
        # Positions rise strictly, so as many as the range is long are all of the range.
        return entries if len(entries) == upto - after else None

    async def latest(self, org_id: UUID, epoch: str, *, upto: int, limit: int) -> list[Entry]:
        """Return the entries that end at `upto` without a gap, at most `limit`, oldest first; none where the tail does not help."""
        rows = await self._answer(org_id, self._redis.xrevrange(tail_key(org_id, epoch), f"{upto}-0", "-", limit))
        dense: list[Entry] = []
        for entry in _entries(rows):
            if entry.position != upto - len(dense):
                break
            dense.append(entry)
        dense.reverse()
        return dense

    async def tops(self, epoch: str) -> dict[UUID, int]:
        """Return the highest position published in `epoch` of every organisation whose tail is still there.

        Raises RedisError or OSError when Redis does not answer.
        """
        tops: dict[UUID, int] = {}
        for server in await self._redis.masters():
            async for key in server.scan_iter(match=f"tail:{{*}}:{epoch}", count=500, _type="stream"):
                name: str = key.decode()
                try:
                    info = await self._redis.xinfo_stream(name)
                except ResponseError:
                    continue  # it expired since the scan saw it
                last_id: bytes = info["last-generated-id"]
                tops[UUID(name[len("tail:{") : name.index("}")])] = int(last_id.partition(b"-")[0])
        return tops

    async def _answer(self, org_id: UUID, asked: Awaitable[Sequence[Any] | None]) -> Sequence[Any]:
        try:
            return await asked or ()
        except (RedisError, OSError) as error:
            structlog.get_logger().warning("tail_not_readable", org_id=str(org_id), error=type(error).__name__)
            return ()


def _entries(rows: Sequence[Any]) -> list[Entry]:
    decoded = (decode(fields[b"m"]) for _, fields in rows)
    return [message[1] for message in decoded if message is not None]
