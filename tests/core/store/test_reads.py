"""Look-ups of one moment share a statement, and nothing else: neither rows of others, nor their errors, nor their ends."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest

from core.ids import new_id
from core.store.database import Database
from core.store.reads import MOST_TOGETHER, LookUps
from tests.harness.organisations import Organisations

# The last column says how many were asked for in the statement.
FIND = "SELECT id, name, cardinality($1::uuid[]) FROM agents WHERE id = ANY ($1)"
ADD = """
INSERT INTO agents (org_id, id, version, name, type, status, created_at, updated_at, document, search)
VALUES (current_org(), $1, 1, $2, 'assistant', 'active', now(), now(), '{}', '')
"""


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    pool = Database(database_url, role="hub_app", size=2)
    await pool.open()
    yield pool
    await pool.close()


async def _agents(database: Database, org_id: UUID, *names: str) -> list[UUID]:
    made: list[UUID] = []
    async with database.transaction(org_id) as db:
        for name in names:
            made.append(new_id())
            await db.execute(ADD, made[-1], name)
    return made


async def test_who_asks_in_one_turn_shares_a_statement(database: Database, organisations: Organisations):
    """Each gets its own row, the same one for the same id, and None for what there is not."""
    org = (await organisations.create()).id
    ada, bob = await _agents(database, org, "Ada", "Bob")
    look_ups = LookUps(database)
    rows = await asyncio.gather(*(look_ups.row(org, FIND, id) for id in (ada, bob, ada, new_id())))
    assert [row and tuple(row[1:]) for row in rows] == [("Ada", 4), ("Bob", 4), ("Ada", 4), None]
    alone = await look_ups.row(org, FIND, bob)
    assert tuple(alone[1:]) == ("Bob", 1)


async def test_organisations_are_asked_for_apart(database: Database, organisations: Organisations):
    """In the same turn, by the same id: only its own organisation finds it."""
    one, other = (await organisations.create()).id, (await organisations.create()).id
    (ada,) = await _agents(database, one, "Ada")
    look_ups = LookUps(database)
    theirs, ours = await asyncio.gather(look_ups.row(other, FIND, ada), look_ups.row(one, FIND, ada))
    assert theirs is None
    assert tuple(ours[1:]) == ("Ada", 1)


async def test_a_statement_holds_a_bounded_number(database: Database, organisations: Organisations):
    """Documents may be large."""
    org = (await organisations.create()).id
    (ada,) = await _agents(database, org, "Ada")
    look_ups = LookUps(database)
    rows = await asyncio.gather(*(look_ups.row(org, FIND, ada) for _ in range(MOST_TOGETHER + 5)))
    assert [row[2] for row in rows] == [MOST_TOGETHER] * MOST_TOGETHER + [5] * 5


@pytest.mark.parametrize("turns", [0, 1, 2], ids=["before it has asked", "as it asks", "while it waits"])
async def test_cancellation_of_who_leads_is_nobody_elses(database: Database, organisations: Organisations, turns: int):
    """The client that came first goes away; the others are answered all the same."""
    org = (await organisations.create()).id
    ada, bob = await _agents(database, org, "Ada", "Bob")
    look_ups = LookUps(database)
    leader, follower = (asyncio.create_task(look_ups.row(org, FIND, id)) for id in (ada, bob))
    for _ in range(1 + turns):
        await asyncio.sleep(0)
    leader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leader
    assert (await follower)[1] == "Bob"


async def test_cancellation_of_who_follows_is_nobody_elses(database: Database, organisations: Organisations):
    """The leader hands out what the others want."""
    org = (await organisations.create()).id
    ada, bob, eve = await _agents(database, org, "Ada", "Bob", "Eve")
    look_ups = LookUps(database)
    leader, gone, follower = (asyncio.create_task(look_ups.row(org, FIND, id)) for id in (ada, bob, eve))
    await asyncio.sleep(0)
    gone.cancel()
    assert [(await task)[1] for task in (leader, follower)] == ["Ada", "Eve"]
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_each_has_an_error_of_its_own(database: Database, organisations: Organisations):
    """An exception that several raised would collect the marks of all."""
    org = (await organisations.create()).id
    look_ups = LookUps(database)
    broken = "SELECT id, 1 / 0 FROM (SELECT unnest($1::uuid[])) AS wanted (id)"
    asked = (look_ups.row(org, broken, new_id()) for _ in range(3))
    errors = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(error) for error in errors] == [asyncpg.DivisionByZeroError] * 3
    assert len({id(error) for error in errors}) == 3


async def test_a_look_up_sees_what_was_committed_before_it_was_asked(database: Database, organisations: Organisations):
    """A statement begins after all who share it have asked: read your own write holds, whoever else reads."""
    org = (await organisations.create()).id
    look_ups = LookUps(database)

    async def write_and_read(name: str) -> str:
        (made,) = await _agents(database, org, name)
        return (await look_ups.row(org, FIND, made))[1]

    names = [f"number {number}" for number in range(20)]
    assert await asyncio.gather(*(write_and_read(name) for name in names)) == names
