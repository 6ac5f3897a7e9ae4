"""Presence in Redis: registering, leases and the reaper, pages. One script call each; the keys are explained in rooms.lua."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
from redis.exceptions import RedisError

from core.errors import HubError
from core.store.redis import Redis, Script
from rooms.presence.page import Count, Member, PresencePage
from rooms.presence.wire import news_channel, nodes_key
from rooms.wire import SEPARATOR

# Two diffs of a room are so far apart; what changes in a quiet room is told at once.
TICK_MS = 200
# Subjects of one diff: with all the data that members may have half a MiB, which every client's library takes.
MOST_OF_A_DIFF = 400
# Connections that one call removes: about 15 ms, in which nothing else runs in Redis.
MOST_REAPED = 1_000
# After a start of Redis nodes have so many seconds to say that they live.
STARTING = 8
# A reader waits for the reaper no longer than so many calls take.
MOST_REAPINGS = 50


@dataclass(frozen=True, slots=True)
class Presentation:
    """A connection as it is registered: its subject as JSON, since when, and what it says of itself, as JSON; empty: nothing."""

    subject: str
    joined_at: str
    data: str = ""


@dataclass(frozen=True, slots=True)
class Changes:
    """What is registered for an incarnation in one room: connections as they are now, None where one has left."""

    org_id: UUID
    channel: str
    incarnation: str
    connections: Sequence[tuple[str, Presentation | None]]


@dataclass(frozen=True, slots=True)
class Applied:
    """Where a room is after changes; `is_told` says that there is nothing left to tell."""

    epoch: str
    version: int
    is_told: bool


@dataclass(frozen=True, slots=True)
class Gone:
    """The incarnation is no more: what it had registered is removed, or will be."""


@dataclass(frozen=True, slots=True)
class Beat:
    """A node's word that it lives in an organisation, for `lease` seconds from now; 0 where it has nothing there any more.

    Without an incarnation it only has the dead removed.
    """

    org_id: UUID
    incarnation: str = ""
    lease: float = 0.0
    is_first: bool = False


@dataclass(frozen=True, slots=True)
class Beaten:
    """What a beat found: `registered` connections of the incarnation, those `removed` of dead ones, the rooms with something to
    tell, and whether there is more to remove."""

    registered: int
    removed: int
    has_more: bool
    untold: Sequence[str]


class PresenceStore:
    """The presence of all rooms. `tick_ms` is how far two diffs of a room are apart."""

    def __init__(
        self, redis: Redis, *, tick_ms: int = TICK_MS, most_of_a_diff: int = MOST_OF_A_DIFF, starting: int = STARTING
    ) -> None:
        self._redis = redis
        self._starting = starting
        self._tick_ms = tick_ms
        self._most = most_of_a_diff
        self._scripts = {name: Script(_lua("rooms"), _lua(name)) for name in ("apply", "beat", "page")}

    async def apply(self, changes: Sequence[Changes]) -> list[Applied | Gone | Exception]:
        """Register all of them by one pipeline. Redis' error stands in place of an answer: whether it was done is unknown."""
        answers = await self._scripts["apply"].run_each(self._redis, [self._applying(each) for each in changes])
        return [answer if isinstance(answer, Exception) else _applied(answer) for answer in answers]

    async def beat(self, beats: Sequence[Beat]) -> list[Beaten | Gone | Exception]:
        """Beat in all of them by one pipeline; errors stand in place of answers, as in `apply`."""
        answers = await self._scripts["beat"].run_each(self._redis, [self._beating(each) for each in beats])
        return [answer if isinstance(answer, Exception) else _beaten(answer) for answer in answers]

    async def page(self, org_id: UUID, channel: str, after: str | None = None, *, limit: int) -> PresencePage:
        """Return a page of a room's members, or, with limit 0, only where it is.

        Raises HubError SERVICE_UNAVAILABLE when Redis does not answer.
        """
        bound = "" if after is None else text_of(after)
        args = [channel, _new_id(), bound, limit]
        try:
            answer = await self._scripts["page"].run(self._redis, [nodes_key(org_id)], args)
        except (RedisError, OSError, TimeoutError) as error:
            raise unavailable() from error
        return _page_of(answer, limit)

    async def reap(self, org_id: UUID) -> int:
        """Have the dead of an organisation removed, and return how many connections those had.

        Raises HubError SERVICE_UNAVAILABLE when Redis does not answer.
        """
        removed = 0
        for _ in range(MOST_REAPINGS):
            (found,) = await self.beat([Beat(org_id)])
            if not isinstance(found, Beaten):
                raise unavailable()
            removed += found.removed
            if not found.has_more:
                break
        return removed

    def _applying(self, changes: Changes) -> tuple[list[str], list[str | int]]:
        org_id, channel = changes.org_id, changes.channel
        args: list[str | int] = [changes.incarnation, channel, news_channel(org_id, channel), _new_id()]
        args += (self._tick_ms, self._most)
        for connection, entry in changes.connections:
            args += (connection, "", "", "") if entry is None else (connection, *_told(entry))
        return [nodes_key(org_id)], args

    def _beating(self, beat: Beat) -> tuple[list[str], list[str | int]]:
        lease = round(beat.lease * 1000)
        args = [beat.incarnation, lease, int(beat.is_first), _new_id(), MOST_REAPED, self._most]
        return [nodes_key(beat.org_id)], [*args, news_channel(beat.org_id, ""), self._starting]


def text_of(subject: str) -> str:
    """Return a subject as it is kept: JSON, so that scripts need not quote it."""
    return orjson.dumps(subject).decode()


def unavailable() -> HubError:
    """Return what is raised when Redis does not answer."""
    return HubError("SERVICE_UNAVAILABLE", "Presence is not available for the moment", retry_after=1)


def _told(entry: Presentation) -> tuple[str, str, str]:
    return entry.subject, entry.joined_at, entry.data


def _applied(answer: list[bytes | int]) -> Applied | Gone:
    match answer:
        case [bytes(epoch), int(version), int(untold)]:
            return Applied(epoch.decode(), version, not untold)
        case _:
            return Gone()


def _beaten(answer: list[Any]) -> Beaten | Gone:
    registered, removed, more, *untold = answer
    if registered < 0:
        return Gone()
    return Beaten(registered, removed, bool(more), [channel.decode() for channel in untold])


def _page_of(answer: list[Any], limit: int) -> PresencePage:
    epoch, version, members, connections, *rows = answer
    found = [_member_of(rows[at], rows[at + 1]) for at in range(0, len(rows), 2)]
    following = found[-1].subject if limit and len(found) == limit else None
    return PresencePage(epoch.decode(), version, Count(members, connections), found, following)


def _member_of(subject: bytes, record: bytes) -> Member:
    connections, joined_at, data = record.decode().split(SEPARATOR, 2)
    return Member(orjson.loads(subject), int(connections), data, joined_at)


def _lua(name: str) -> Path:
    return Path(__file__).with_name(f"{name}.lua")


def _new_id() -> str:
    return secrets.token_hex(6)
