"""Presence in Redis: registering, leases, what the dead have left, pages. The keys are explained in rooms.lua."""

import asyncio
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
from redis.exceptions import RedisError

from core.errors import HubError
from core.store.redis import Redis, Script
from rooms.presence.page import Count, Member, PresencePage
from rooms.presence.wire import changed_keys, index_key, news_channel, nodes_key, room_keys
from rooms.wire import SEPARATOR

# Two diffs of a room are so far apart; what changes in a quiet room is told at once.
TICK_MS = 200
# Subjects of one diff: with all the data that members may have half a MiB, which every client's library takes.
MOST_OF_A_DIFF = 400
# Connections of an incarnation that are removed at once: in one room about 15 ms, in which nothing else runs in Redis.
MOST_REAPED = 1_000
# Rooms of one pipeline of that.
ROOMS_AT_ONCE = 64
# After a start of Redis nodes have so many seconds to say that they live.
STARTING = 8
# A reader has the dead removed in so many steps at most.
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

    Without an incarnation it only asks who is dead. Where it `counts`, it also asks how much is registered.
    """

    org_id: UUID
    incarnation: str = ""
    lease: float = 0.0
    is_first: bool = False
    counts: bool = False


@dataclass(frozen=True, slots=True)
class Dead:
    """An incarnation whose lease in an organisation has ended. It never lives again."""

    org_id: UUID
    incarnation: str


@dataclass(frozen=True, slots=True)
class Beaten:
    """What a beat found: how many connections the incarnation has `registered`, None where that was not asked or is not known, what
    names this life of Redis, and some of who is `dead`."""

    registered: int | None
    server: bytes
    dead: Sequence[Dead]


@dataclass(slots=True)
class Reaped:
    """What was removed of dead incarnations: how many connections, in which rooms something is still to be told, and of whom more
    may be left. `is_done` is False where Redis has not done all; what is left then, the next beat finds again."""

    removed: int = 0
    untold: list[tuple[UUID, str]] = field(default_factory=list[tuple[UUID, str]])
    more: list[Dead] = field(default_factory=list[Dead])
    is_done: bool = True


@dataclass(frozen=True, slots=True)
class _Remains:
    """What a dead incarnation has left in one room."""

    dead: Dead
    channel: str
    connections: Sequence[str]


class PresenceStore:
    """The presence of all rooms. `tick_ms` is how far two diffs of a room are apart."""

    def __init__(
        self, redis: Redis, *, tick_ms: int = TICK_MS, most_of_a_diff: int = MOST_OF_A_DIFF, starting: int = STARTING
    ) -> None:
        self._redis = redis
        self._starting = starting
        self._tick_ms = tick_ms
        self._most = most_of_a_diff
        of_rooms = {name: Script(_lua("leases"), _lua("rooms"), _lua(name)) for name in ("apply", "reap", "page")}
        self._scripts = of_rooms | {name: Script(_lua("leases"), _lua(name)) for name in ("beat", "left")}

    async def apply(self, changes: Sequence[Changes]) -> list[Applied | Gone | Exception]:
        """Register all of them by one pipeline. Redis' error stands in place of an answer: whether it was done is unknown."""
        answers = await self._scripts["apply"].run_each(self._redis, [self._applying(each) for each in changes])
        return [answer if isinstance(answer, Exception) else _applied(answer) for answer in answers]

    async def beat(self, beats: Sequence[Beat]) -> list[Beaten | Gone | Exception]:
        """Beat in all of them, in the time of one round trip; errors stand in place of answers, as in `apply`."""
        calls = [self._beating(each) for each in beats]
        counts = [("SCARD", index_key(each.org_id, each.incarnation)) for each in beats if each.counts]
        # Apart from the script, which is to have no other key than that of the leases.
        answers, counted = await asyncio.gather(
            self._scripts["beat"].run_each(self._redis, calls), self._redis.together(counts)
        )
        numbers = iter(counted)
        return [
            _beaten(beat, answer, next(numbers) if beat.counts else None)
            for beat, answer in zip(beats, answers, strict=True)
        ]

    async def page(self, org_id: UUID, channel: str, after: str | None = None, *, limit: int) -> PresencePage:
        """Return a page of a room's members, or, with limit 0, only where it is.

        Raises HubError SERVICE_UNAVAILABLE when Redis does not answer.
        """
        bound = "" if after is None else text_of(after)
        keys = room_keys(org_id, channel)[:4]
        try:
            answer = await self._scripts["page"].run(self._redis, keys, [_new_id(), bound, limit])
        except (RedisError, OSError, TimeoutError) as error:
            raise unavailable() from error
        return _page_of(answer, limit)

    async def remove(self, dead: Sequence[Dead]) -> Reaped:
        """Remove MOST_REAPED connections of each of the dead, and forget those that have none left.

        Several may do so at once: what one has removed, the others do not find.
        """
        reaped = Reaped()
        calls = [([nodes_key(each.org_id), index_key(*_parts(each))], [each.incarnation, MOST_REAPED]) for each in dead]
        remains: list[_Remains] = []
        for each, answer in zip(dead, await self._scripts["left"].run_each(self._redis, calls), strict=True):
            if isinstance(answer, Exception):
                reaped.is_done = False
                continue
            remains += _by_rooms(each, answer)
            if len(answer) == MOST_REAPED:
                reaped.more.append(each)
        failed: set[UUID] = set()
        for start in range(0, len(remains), ROOMS_AT_ONCE):
            some = [each for each in remains[start : start + ROOMS_AT_ONCE] if each.dead.org_id not in failed]
            if some:
                failed |= await self._reap(some, reaped)
        return reaped

    async def _reap(self, remains: Sequence[_Remains], reaped: Reaped) -> set[UUID]:
        """Remove what is left in some rooms by one pipeline; return the organisations in which that failed, maybe after a while."""
        failed: set[UUID] = set()
        answers = await self._scripts["reap"].run_each(self._redis, [self._removing(each) for each in remains])
        for each, answer in zip(remains, answers, strict=True):
            if isinstance(answer, Exception):
                reaped.is_done = False
                failed.add(each.dead.org_id)
                continue
            removed, untold = answer
            reaped.removed += removed
            if untold:
                reaped.untold.append((each.dead.org_id, each.channel))
        return failed

    async def reap(self, org_id: UUID) -> int:
        """Have the dead of an organisation removed, and return how many connections those had.

        Raises HubError SERVICE_UNAVAILABLE when Redis does not answer.
        """
        removed = 0
        for _ in range(MOST_REAPINGS):
            (found,) = await self.beat([Beat(org_id)])
            if not isinstance(found, Beaten):
                raise unavailable()
            if not found.dead:
                break
            reaped = await self.remove(found.dead)
            if not reaped.is_done:
                raise unavailable()
            removed += reaped.removed
        return removed

    def _applying(self, changes: Changes) -> tuple[list[str], list[str | int]]:
        org_id, channel = changes.org_id, changes.channel
        args: list[str | int] = [changes.incarnation, channel, news_channel(org_id, channel), _new_id()]
        args += (self._tick_ms, self._most)
        for connection, entry in changes.connections:
            args += (connection, "", "", "") if entry is None else (connection, *_told(entry))
        return changed_keys(org_id, changes.incarnation, channel), args

    def _beating(self, beat: Beat) -> tuple[list[str], list[str | int]]:
        return [nodes_key(beat.org_id)], [
            beat.incarnation,
            round(beat.lease * 1000),
            int(beat.is_first),
            self._starting,
        ]

    def _removing(self, remains: _Remains) -> tuple[list[str], list[str | int]]:
        (org_id, incarnation), channel = _parts(remains.dead), remains.channel
        args = [incarnation, channel, news_channel(org_id, channel), _new_id(), self._most, *remains.connections]
        return changed_keys(org_id, incarnation, channel), args


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


def _beaten(beat: Beat, answer: list[Any] | Exception, registered: Any) -> Beaten | Gone | Exception:
    if isinstance(answer, Exception):
        return answer
    if not answer[0]:
        return Gone()
    _, server, *dead = answer
    found = [Dead(beat.org_id, incarnation.decode()) for incarnation in dead]
    return Beaten(registered if isinstance(registered, int) else None, server, found)


def _by_rooms(dead: Dead, registered: Iterable[bytes]) -> list[_Remains]:
    rooms: dict[str, list[str]] = {}
    for each in registered:
        channel, _, connection = each.decode().rpartition(SEPARATOR)
        rooms.setdefault(channel, []).append(connection)
    return [_Remains(dead, channel, connections) for channel, connections in rooms.items()]


def _parts(dead: Dead) -> tuple[UUID, str]:
    return dead.org_id, dead.incarnation


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
