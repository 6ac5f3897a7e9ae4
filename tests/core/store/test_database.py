"""The pool: one organisation at a time, known state or no connection."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest

from core.errors import HubError
from core.ids import new_id
from core.store.database import Database, connect_as
from tests.harness.organisations import Organisations
from tests.harness.waiting import eventually

AGENT = """
INSERT INTO agents (org_id, id, version, name, type, status, created_at, updated_at, document, search)
VALUES (current_org(), $1, 1, $2, 'assistant', 'active', now(), now(), '{}', '')
"""


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A pool of one connection, so that whatever one use leaves behind the next one meets."""
    pool = Database(database_url, role="hub_app", size=1)
    await pool.open()
    yield pool
    await pool.close()


@pytest.fixture
async def two(organisations: Organisations) -> tuple[UUID, UUID]:
    """Two organisations."""
    return (await organisations.create()).id, (await organisations.create()).id


async def _names(database: Database, org_id: UUID) -> set[str]:
    async with database.read(org_id) as db:
        return {row["name"] for row in await db.fetch("SELECT name FROM agents")}


async def _add(database: Database, org_id: UUID, name: str) -> None:
    async with database.transaction(org_id) as db:
        await db.execute(AGENT, new_id(), name)


async def test_organisations_share_a_connection_and_see_only_their_own_rows(database: Database, two: tuple[UUID, UUID]):
    """A, then a failing write of B, then a read of B and of A, on the same connection."""
    first, second = two
    await _add(database, first, "of the first")
    with pytest.raises(asyncpg.DivisionByZeroError):
        async with database.transaction(second) as db:
            await db.execute(AGENT, new_id(), "lost")
            await db.execute("SELECT 1 / 0")
    assert await _names(database, second) == set()
    assert await _names(database, first) == {"of the first"}
    await _add(database, second, "of the second")
    assert await _names(database, second) == {"of the second"}


async def test_write_for_another_organisation_is_refused_by_the_database(database: Database, two: tuple[UUID, UUID]):
    """Row-level security is the last line, whatever a statement says."""
    first, second = two
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.transaction(first) as db:
            await db.execute(AGENT.replace("current_org()", f"'{second}'"), new_id(), "smuggled")
    assert await _names(database, second) == set()


async def test_unbound_statements_see_no_rows_of_who_used_the_connection_before(
    database: Database, two: tuple[UUID, UUID]
):
    """An error makes the connection forget for whom it spoke, in the database too."""
    first, _ = two
    await _add(database, first, "kept")
    with pytest.raises(RuntimeError):
        async with database.transaction(first):
            raise RuntimeError
    assert await _names(database, first) == {"kept"}


async def test_cancelled_statement_closes_its_connection(database: Database, two: tuple[UUID, UUID]):
    """What a cancelled statement was doing is unknown, so its connection is not used again."""
    first, _ = two
    async with database.read(first) as db:
        before = await db.fetchval("SELECT pg_backend_pid()")

    async def sleeper() -> None:
        async with database.transaction(first) as db:
            await db.execute("SELECT pg_sleep(60)")

    task = asyncio.create_task(sleeper())
    await eventually(lambda: _sleeps(database, task))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with database.read(first) as db:
        assert await db.fetchval("SELECT pg_backend_pid()") != before


async def _sleeps(database: Database, task: asyncio.Task[None]) -> bool:
    await asyncio.sleep(0)
    return not task.done() and database.in_use == 1


async def test_waiters_get_the_connection_in_turn(database: Database, two: tuple[UUID, UUID]):
    """Twenty users of one connection all come to an end."""
    await asyncio.gather(*(_add(database, two[index % 2], f"agent {index}") for index in range(20)))
    assert len(await _names(database, two[0])) == len(await _names(database, two[1])) == 10


async def test_organisations_take_turns_at_connections(database_url: str, two: tuple[UUID, UUID]):
    """However many of one wait: another's one gets the next connection but one."""
    pool = Database(database_url, role="hub_app", size=1)
    await pool.open()
    noisy, quiet = two
    order: list[UUID] = []

    async def use(org_id: UUID) -> None:
        async with pool.read(org_id) as db:
            order.append(org_id)
            await db.fetchval("SELECT 1")

    try:
        async with pool.read(noisy):
            tasks = [asyncio.create_task(use(noisy)) for _ in range(20)]
            await eventually(lambda: pool.waiting == 20)
            tasks.append(asyncio.create_task(use(quiet)))
            await eventually(lambda: pool.waiting == 21)
        await asyncio.gather(*tasks)
    finally:
        await pool.close()
    assert order.index(quiet) == 1
    assert order.count(noisy) == 20


async def test_server_that_is_not_there_is_service_unavailable():
    """A refusal with Retry-After, not a traceback."""
    pool = Database("postgresql://nobody@127.0.0.1:1/none", role="hub_app")
    with pytest.raises(HubError) as refused:
        await pool.open()
    assert (refused.value.code, refused.value.retry_after) == ("SERVICE_UNAVAILABLE", 1)


async def test_lost_connection_is_service_unavailable_and_the_next_use_connects(
    database: Database, two: tuple[UUID, UUID], database_url: str
):
    """A connection that the server ends costs the request that meets it, no other."""
    first, _ = two
    with pytest.raises(HubError) as refused:
        async with database.read(first) as db:
            await _terminate(database_url, await db.fetchval("SELECT pg_backend_pid()"))
            await db.fetchval("SELECT 1")
    assert refused.value.code == "SERVICE_UNAVAILABLE"
    assert await _names(database, first) == set()


@pytest.mark.parametrize("state", ["53100", "53200", "58030"])
async def test_full_or_failing_disk_is_service_unavailable(database: Database, two: tuple[UUID, UUID], state: str):
    """The caller may come again: it is no bug of the hub. The connection is as good as before."""
    with pytest.raises(HubError) as refused:
        async with database.transaction(two[0]) as db:
            await db.execute(AGENT, new_id(), "lost")
            await db.execute(f"DO $$ BEGIN RAISE EXCEPTION 'no space' USING ERRCODE = '{state}'; END $$")
    assert (refused.value.code, refused.value.retry_after) == ("SERVICE_UNAVAILABLE", 1)
    assert await _names(database, two[0]) == set()


async def test_session_that_may_only_read_is_replaced(database: Database, two: tuple[UUID, UUID]):
    """After a failover the pool's sessions are with a standby: each ends at its first write, and the next one connects."""
    async with database.read(two[0]) as db:
        await db.execute("SET default_transaction_read_only = on")
    with pytest.raises(HubError) as refused:
        await _add(database, two[0], "refused")
    assert refused.value.code == "SERVICE_UNAVAILABLE"
    await _add(database, two[0], "written")
    assert await _names(database, two[0]) == {"written"}


async def _terminate(database_url: str, pid: int) -> None:
    login = await connect_as(database_url, None)
    try:
        # Returns when the session is gone.
        assert await login.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)
    finally:
        await login.close()


async def test_waiter_that_is_cancelled_as_it_is_woken_passes_the_connection_on(
    database: Database, two: tuple[UUID, UUID]
):
    """A connection given to whoever was cancelled in the same turn is not lost."""
    first, _ = two
    held = database.read(first)
    await held.__aenter__()
    waiter = asyncio.create_task(_names(database, first))
    await eventually(lambda: database.waiting == 1)
    await held.__aexit__(None, None, None)
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    assert (database.in_use, database.waiting) == (0, 0)
    assert await _names(database, first) == set()
