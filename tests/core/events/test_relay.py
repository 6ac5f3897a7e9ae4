"""The relay: dense positions in commit order, one holder a shard, takeover from the dead and the stopped."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pytest

from core.clock import SystemClock
from core.events import relay
from core.events.epoch import new_epoch, settle_epoch
from core.events.event import Entry
from core.events.log import LogReader
from core.events.relay import POLL_SECONDS, SHARDS, STUCK_LOOKS, Relay
from core.ids import new_id
from core.store.database import Database, connect_as
from core.store.queries import load_queries
from tests.harness.organisations import Organisation, Organisations
from tests.harness.waiting import eventually

EMIT = """
INSERT INTO outbox (org_id, event_id, type, subject, channel, time, envelope)
VALUES (current_org(), $1, 'agent.created', 'agents/' || $2, 'agents:' || $2, now(), $2)
"""


@dataclass
class Published:
    """What was published, as Redis' tail would keep it: a repeat is ignored, what is below the top is refused.

    A publisher of ours at the relay's port, so that a test can make it fail or wait; the real one has tests of its own.
    """

    entries: dict[UUID, list[Entry]] = field(default_factory=dict[UUID, list[Entry]])
    failures: int = 0
    gate: asyncio.Event | None = None

    async def publish(self, org_id: UUID, epoch: str, entries: list[Entry]) -> None:
        if self.gate is not None:
            await self.gate.wait()
        if self.failures:
            self.failures -= 1
            raise ConnectionResetError
        kept = self.entries.setdefault(org_id, [])
        kept += [entry for entry in entries if not kept or entry.position > kept[-1].position]

    def positions(self, org_id: UUID) -> list[int]:
        return [entry.position for entry in self.entries.get(org_id, [])]


async def _no_tops(_epoch: str) -> dict[UUID, int]:
    return {}


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    await settle_epoch(database_url, _no_tops)
    pool = Database(database_url, role="hub_app", size=4)
    yield pool
    await pool.close()


@asynccontextmanager
async def running(url: str, published: Published) -> AsyncGenerator[Relay]:
    relay = Relay(url, published, SystemClock())
    task = asyncio.create_task(relay.run())
    try:
        yield relay
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def emit(database: Database, org_id: UUID, *names: str) -> None:
    async with database.transaction(org_id) as db:
        for name in names:
            await db.execute(EMIT, new_id(), name)


def has(published: Published, org_id: UUID, count: int) -> Callable[[], bool]:
    return lambda: len(published.positions(org_id)) >= count


async def test_events_get_dense_positions_in_their_organisation(
    database: Database, database_url: str, organisations: Organisations
):
    """Each organisation counts from 1, whatever the others do; the log has what was published."""
    first, second = await organisations.create(), await organisations.create()
    published = Published()
    async with running(database_url, published) as relay:
        for index in range(30):
            await emit(database, first.id, f"a{index}")
            await emit(database, second.id, f"b{index}", f"c{index}")
            relay.poke()
        await eventually(has(published, first.id, 30), within=30)
        await eventually(has(published, second.id, 60), within=30)
    assert published.positions(first.id) == list(range(1, 31))
    assert published.positions(second.id) == list(range(1, 61))
    log = LogReader(database)
    assert await log.range(first.id, after=0, upto=99, limit=99) == published.entries[first.id]
    assert (await log.head(second.id)).position == 60


async def test_move_takes_rows_by_their_keys_also_where_the_outbox_was_empty_when_it_was_looked_at(database_url: str):
    """Else each row of a batch is compared with each, and the relay is fifty times slower until autovacuum looks again."""
    move = load_queries(Path(relay.__file__).with_name("relay.sql"))["move"]
    owner = await connect_as(database_url, "hub_owner")
    settings = {"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off"}  # as the relay has them
    connection = await connect_as(database_url, "hub_system", **settings)
    try:
        await owner.execute("ANALYZE outbox")
        await connection.execute(f"PREPARE move (smallint[], bigint) AS {move}")
        plan = str(await connection.fetchval("EXPLAIN (FORMAT JSON) EXECUTE move('{0,1}', 500)"))
    finally:
        await owner.close()
        await connection.close()
    assert '"Index Cond": "(seq = ANY (' in plan, plan


async def test_order_within_a_transaction_is_kept(database: Database, database_url: str, organisation: Organisation):
    """Events of one transaction keep the order in which they were emitted."""
    names = [f"n{index}" for index in range(50)]
    await emit(database, organisation.id, *names)
    published = Published()
    async with running(database_url, published):
        await eventually(has(published, organisation.id, 50), within=30)
    assert [entry.envelope for entry in published.entries[organisation.id]] == names


async def test_one_relay_holds_the_shards_and_the_other_takes_them_when_it_ends(
    database: Database, database_url: str, organisation: Organisation
):
    """A holder's locks end with its session."""
    published = Published()
    async with running(database_url, published) as second:
        await eventually(lambda: second.holds_all, within=20)
        async with running(database_url, published) as third:
            await emit(database, organisation.id, "one")
            second.poke()
            await eventually(has(published, organisation.id, 1), within=20)
            assert not third.held
    async with running(database_url, published) as fourth:
        await eventually(lambda: len(fourth.held) == SHARDS, within=20)
        await emit(database, organisation.id, "two")
        fourth.poke()
        await eventually(has(published, organisation.id, 2), within=20)
    assert published.positions(organisation.id) == [1, 2]


async def test_holder_that_does_nothing_loses_its_shards(
    database: Database, database_url: str, organisation: Organisation
):
    """A session that holds the locks and moves nothing, as of a stopped process, is ended within five seconds."""
    assert (STUCK_LOOKS + 1) * POLL_SECONDS < 5
    idle = await connect_as(database_url, "hub_system")
    held = Relay(database_url, Published(), SystemClock())
    taken = await idle.fetch("SELECT pg_try_advisory_lock($1, s) FROM generate_series(0, 15) s", 0x68756272)
    assert len(taken) == SHARDS
    assert not held.held
    published = Published()
    async with running(database_url, published):
        await emit(database, organisation.id, "waits")
        await eventually(has(published, organisation.id, 1), within=20)
    assert idle.is_closed()


async def test_what_was_moved_but_not_published_goes_out_after_a_takeover(
    database: Database, database_url: str, organisation: Organisation
):
    """A relay that dies between commit and publish leaves `published` below `position`; the next one sends the rest."""
    stuck = Published(gate=asyncio.Event())
    async with running(database_url, stuck) as relay:
        await emit(database, organisation.id, "one", "two")
        relay.poke()
        await eventually(lambda: _has_head(database, organisation.id, 2), within=20)
        stuck.gate.set() if stuck.gate else None
        stuck.failures = 100
    assert not stuck.entries
    published = Published()
    async with running(database_url, published):
        await eventually(has(published, organisation.id, 2), within=20)


async def _has_head(database: Database, org_id: UUID, position: int) -> bool:
    return (await LogReader(database).head(org_id)).position >= position


async def test_publishing_that_fails_is_made_up_in_order(
    database: Database, database_url: str, organisation: Organisation
):
    """While Redis is away writes go on; when it is back everything goes out, in order, once."""
    published = Published(failures=2)
    async with running(database_url, published) as relay:
        for index in range(20):
            await emit(database, organisation.id, f"e{index}")
            relay.poke()
        await eventually(has(published, organisation.id, 20), within=30)
    assert published.positions(organisation.id) == list(range(1, 21))


async def test_relays_that_come_and_go_give_no_position_twice(
    database: Database, database_url: str, organisations: Organisations
):
    """Three relays over one outbox, each killed at random times, while writers write: dense, once each, in order."""
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    some = [await organisations.create() for _ in range(3)]
    published = Published()

    async def writer(organisation: Organisation) -> None:
        for index in range(60):
            await emit(database, organisation.id, f"{index}")

    async def churn() -> None:
        while True:
            async with running(database_url, published) as relay:
                for _ in range(chance.randrange(1, 400)):
                    relay.poke()
                    await asyncio.sleep(0)

    churning = [asyncio.create_task(churn()) for _ in range(3)]
    try:
        await asyncio.gather(*(writer(organisation) for organisation in some))
    finally:
        for task in churning:
            task.cancel()
        await asyncio.gather(*churning, return_exceptions=True)
    async with running(database_url, published):
        for organisation in some:
            await eventually(lambda org=organisation: _has_head(database, org.id, 60), within=30)
    log = LogReader(database)
    for organisation in some:
        entries = await log.range(organisation.id, after=0, upto=1000, limit=1000)
        assert [entry.position for entry in entries] == list(range(1, 61)), f"seed {seed}"
        assert [entry.envelope for entry in entries] == [str(index) for index in range(60)], f"seed {seed}"


async def test_epoch_begins_anew_by_hand_and_when_the_log_ends_below_what_was_published(
    database_url: str, organisation: Organisation
):
    """A log that lost its end, or a restore that somebody reports: positions are of another life from there on."""
    first = await settle_epoch(database_url, _no_tops)
    assert await settle_epoch(database_url, _no_tops) == first

    async def tops(_epoch: str) -> dict[UUID, int]:
        return {organisation.id: 7}

    second = await settle_epoch(database_url, tops)
    assert second != first
    third = await new_epoch(database_url)
    assert third not in (first, second)
    assert await settle_epoch(database_url, _no_tops) == third
