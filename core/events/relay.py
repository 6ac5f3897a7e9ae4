"""The relay moves committed events from the outbox into the log, giving each its position, and publishes them.

One holder a shard: the holder's database session owns the shard's advisory lock, and the move runs on that very session, so a
holder that lost the lock cannot move. What it may still publish late is refused by the tail, where positions only rise. Every
node runs a relay; one without locks stands by, looks once a second, takes what is free, publishes what a holder moved but did
not publish, and ends the session of a holder that moves nothing while something waits: a process that was stopped keeps its
locks, but not for long.

Nothing is remembered outside PostgreSQL: after any death the next holder publishes what stands between `published` and
`position`.
"""

import asyncio
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from redis.exceptions import RedisError

from core.clock import Clock
from core.deadline import ended_within
from core.events.event import Entry, Publisher
from core.store.database import Connection, connect_as
from core.store.queries import load_queries
from core.store.session import DATABASE_AWAY, close_session

_SQL = load_queries(Path(__file__).with_name("relay.sql"))

SHARDS = 16
LOCK_CLASS = 0x68756272  # 'hubr': the relay's own space of advisory locks
BATCH = 500
POLL_SECONDS = 1.0
# Under load what is out is noted so often. Below a poll, so that no stand-by takes a busy holder for one that is behind.
MARK_SECONDS = 0.25
# Looks of a stand-by, a second apart, that must find the same before it ends the holder's session.
STUCK_LOOKS = 3
# Organisations published to at the same time.
PUBLISHERS = 8
_SESSION = {
    "application_name": "aimatrix-hub relay",
    "idle_in_transaction_session_timeout": "2s",
    # An outbox that is empty when the statement is planned must not decide how a full one is read.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
}


class Relay:
    """A node's relay. `run()` works until it is cancelled; `poke()` says that something was committed."""

    def __init__(self, url: str, publisher: Publisher, clock: Clock) -> None:
        self._url = url
        self._publisher = publisher
        self._clock = clock
        self._held: set[int] = set()
        self._wake = asyncio.Event()
        self._behind = False
        # What was published since it was last noted in heads.
        self._unmarked: dict[UUID, int] = {}
        self._mark_by = 0.0
        self._failing = False
        self._looks: dict[int, tuple[int, int]] = {}
        self._left: set[tuple[UUID, int]] = set()
        # Since the start of this node; what was published includes what earlier holders left.
        self.moved = 0
        self.published = 0
        # Since when each look at the outbox has found more than is taken at once, in monotonic seconds.
        self._full_since: float | None = None
        self._log = structlog.get_logger()

    @property
    def holds_all(self) -> bool:
        """Whether every shard is this node's, so that nobody else needs a poke."""
        return len(self._held) == SHARDS

    @property
    def behind(self) -> bool:
        """Whether something that this node moved is not published yet, since Redis did not take it."""
        return self._behind

    @property
    def late(self) -> float:
        """For how many seconds the outbox has held more than this node takes at once: how old what waits may be."""
        return 0.0 if self._full_since is None else self._clock.monotonic() - self._full_since

    @property
    def held(self) -> frozenset[int]:
        """The shards that this node holds."""
        return frozenset(self._held)

    def poke(self) -> None:
        """Wake the relay: something was committed. Costs next to nothing."""
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled; reconnects for as long as PostgreSQL is away. Cancelled, it gives its locks back."""
        while True:
            try:
                connection = await connect_as(self._url, "hub_system", **_SESSION)
            except DATABASE_AWAY as error:
                self._log.warning("relay_cannot_connect", error=type(error).__name__)
                await self._clock.sleep(POLL_SECONDS)
                continue
            try:
                await self._work(connection)
            except DATABASE_AWAY as error:
                self._log.warning("relay_lost_its_session", error=type(error).__name__, detail=str(error)[:200])
                await self._clock.sleep(0.1)
            finally:
                self._held.clear()
                self._looks.clear()
                self._left.clear()
                self._unmarked.clear()
                self._full_since = None
                await close_session(connection)

    async def _work(self, connection: Connection) -> None:
        """Serve one session: look at the locks once a poll, move whenever woken."""
        next_look = 0.0
        while True:
            self._wake.clear()
            if self._clock.monotonic() >= next_look:
                await self._look(connection)
                next_look = self._clock.monotonic() + POLL_SECONDS
            if self._held:
                await self._move_all(connection)
            await self._wait(max(0.0, next_look - self._clock.monotonic()))

    async def _wait(self, seconds: float) -> None:
        waking = asyncio.ensure_future(self._wake.wait())
        try:
            await ended_within(self._clock, seconds, waking)
        finally:
            waking.cancel()

    async def _look(self, connection: Connection) -> None:
        """Take the shards that are free, publish what an earlier holder left, and see to holders that are stuck."""
        missing = sorted(set(range(SHARDS)) - self._held)
        if missing:
            rows = await connection.fetch(_SQL["lock"], LOCK_CLASS, missing)
            taken = {row["shard"] for row in rows}
            self._held |= taken
            if taken:
                self._log.info("relay_took_shards", shards=sorted(taken))
        if self._held:
            await self._mark(connection)
            await self._publish_what_is_left(connection)
        if not self.holds_all:
            await self._publish_for_others(connection)
            await self._end_stuck_holders(connection)

    async def _move_all(self, connection: Connection) -> None:
        """Move until the outbox is empty; a batch is published while the next one is moved."""
        publishing: asyncio.Task[bool] | None = None
        try:
            while True:
                rows = await connection.fetch(_SQL["move"], sorted(self._held), BATCH)
                if publishing is not None:
                    self._behind |= not await publishing
                    publishing = None
                self.moved += len(rows)
                self._unmarked.update((row["org_id"], row["position"]) for row in rows)
                if rows and not self._behind:
                    publishing = asyncio.create_task(self._publish(rows))
                if len(rows) == BATCH:
                    self._full_since = self._full_since or self._clock.monotonic()
                else:
                    self._full_since = None
                    # What was committed since has poked: no look at an empty outbox, which would cost as much as a move.
                    break
        finally:
            if publishing is not None:
                # The batch is committed; whether it went out is known here, or found out by the next holder.
                await asyncio.wait((publishing,))
        if publishing is not None:
            self._behind |= not publishing.result()
        if self._behind:
            self._unmarked.clear()
            await self._publish_what_is_left(connection)
        elif not self._wake.is_set() or self._clock.monotonic() >= self._mark_by:
            await self._mark(connection)

    async def _mark(self, connection: Connection) -> None:
        """Note what is out. Under load once for many moves: it is another commit, and a repeat after a takeover is refused."""
        self._mark_by = self._clock.monotonic() + MARK_SECONDS
        done, self._unmarked = self._unmarked, {}
        if done:
            await connection.execute(_SQL["mark_published"], list(done), list(done.values()))

    async def _publish(self, rows: list[Any]) -> bool:
        """Publish a moved batch; False where any of it did not go out."""
        room = asyncio.Semaphore(PUBLISHERS)

        async def one(org_id: UUID, epoch: str, entries: list[Entry]) -> bool:
            async with room:
                return await self._publish_entries(org_id, epoch, entries)

        batches = [(org_id, list(group)) for org_id, group in groupby(rows, key=lambda row: row["org_id"])]
        sent = await asyncio.gather(*(one(org_id, group[0]["epoch"], _entries(group)) for org_id, group in batches))
        return all(sent)

    async def _publish_entries(self, org_id: UUID, epoch: str, entries: list[Entry]) -> bool:
        try:
            await self._publisher.publish(org_id, epoch, entries)
        except (RedisError, OSError, TimeoutError) as error:
            # Once an outage: every write tries again.
            if not self._failing:
                self._log.warning("relay_cannot_publish", org_id=str(org_id), error=type(error).__name__)
            self._failing = True
            return False
        if self._failing:
            self._failing = False
            self._log.info("relay_publishes_again")
        self.published += len(entries)
        return True

    async def _publish_what_is_left(self, connection: Connection) -> None:
        """Publish from `published` to `position` in the own shards: after a takeover, or when Redis was away."""
        heads = await connection.fetch(_SQL["unpublished"], sorted(self._held))
        self._behind = False
        for head in heads:
            if not await self._publish_head(connection, head):
                self._behind = True
                return

    async def _publish_for_others(self, connection: Connection) -> None:
        """Publish for a holder that did not between two looks. Needs no lock: what is published twice is refused."""
        heads = await connection.fetch(_SQL["unpublished"], sorted(set(range(SHARDS)) - self._held))
        left = {(head["org_id"], head["published"]) for head in heads}
        for head in heads:
            if (head["org_id"], head["published"]) in self._left and not await self._publish_head(connection, head):
                break
        self._left = left

    async def _publish_head(self, connection: Connection, head: Any) -> bool:
        after: int = head["published"]
        while after < head["position"]:
            rows = await connection.fetch(_SQL["pages"], head["org_id"], after, head["position"], BATCH)
            if not await self._publish_entries(head["org_id"], head["epoch"], _entries(rows)):
                return False
            after = rows[-1]["position"]
            await connection.execute(_SQL["mark_published"], [head["org_id"]], [after])
        return True

    async def _end_stuck_holders(self, connection: Connection) -> None:
        looks: dict[int, tuple[int, int]] = {}
        for row in await connection.fetch(_SQL["waiting"], sorted(self._held)):
            oldest, count = self._looks.get(row["shard"], (0, 0))
            looks[row["shard"]] = (row["oldest"], count + 1 if oldest == row["oldest"] else 1)
        self._looks = looks
        stuck = [shard for shard, (_, count) in looks.items() if count >= STUCK_LOOKS]
        if stuck:
            await self._end_holders(stuck)
            self._looks = {}

    async def _end_holders(self, shards: Iterable[int]) -> None:
        login = await connect_as(self._url, None)
        try:
            for shard in shards:
                await login.execute(_SQL["end_holder"], LOCK_CLASS, shard)
            self._log.warning("relay_ended_stuck_holders", shards=sorted(shards))
        finally:
            await close_session(login)


def _entries(rows: Iterable[Any]) -> list[Entry]:
    return [Entry(row["position"], row["channel"], row["envelope"]) for row in rows]
