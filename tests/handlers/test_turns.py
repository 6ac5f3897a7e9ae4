"""Searches of one organisation, however slow, leave connections to all others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from core.ids import new_id
from core.operations.audit import AuditTrail
from core.operations.idempotency import IdempotencyKeys
from core.operations.runner import Runner
from core.store.database import Database, connect_as
from handlers.lists.turns import MOST_AT_ONCE, Turns
from tests.handlers.house import House
from tests.harness.clock import ManualClock
from tests.harness.limiters import limiter_without_redis
from tests.harness.organisations import Organisation, Organisations
from tests.harness.waiting import eventually

MANY = 3 * MOST_AT_ONCE
# A search that takes until the gate is open.
GATE = """
CREATE TABLE gate ();
GRANT SELECT ON gate TO hub_app;
CREATE OR REPLACE FUNCTION agents_holding(one text, two text, three text) RETURNS SETOF uuid LANGUAGE plpgsql VOLATILE
AS 'BEGIN
    PERFORM pg_advisory_xact_lock_shared(42);
    WHILE NOT EXISTS (SELECT FROM gate) LOOP PERFORM pg_sleep(0.01); END LOOP;
END';
"""
RUNNING = """
SELECT count(*) FROM pg_locks
WHERE locktype = 'advisory' AND objid = 42 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@pytest.fixture
async def house(database_url: str, organisation: Organisation) -> AsyncIterator[House]:
    """With a pool that is too small for all that search at once, and a gate."""
    clock = ManualClock()
    database = Database(database_url, role="hub_app", size=MOST_AT_ONCE + 2)
    trail = AuditTrail(database_url, clock)
    runner = Runner(database, trail, clock, lambda: None, limiter_without_redis(clock), IdempotencyKeys("of a test"))
    house = House(database_url, runner, clock, organisation.caller())
    owner = await connect_as(database_url, "hub_owner")
    await owner.execute(GATE)
    await owner.close()
    yield house
    await trail.close()
    await database.close()


async def test_slow_searches_leave_connections_to_others(house: House, organisations: Organisations):
    """Four run, the others wait; meanwhile everything else is answered, the organisation's own and others'. Then all are."""
    other = (await organisations.create()).caller()
    await house.create("agents", name="A")  # where there is nothing, nothing is searched
    async with AsyncExitStack() as stack:
        observer = await connect_as(house.url, None)
        stack.push_async_callback(observer.close)
        searches = [asyncio.create_task(house.run("agents.list", q="some")) for _ in range(MANY)]

        async def are_running() -> bool:
            return await observer.fetchval(RUNNING) == MOST_AT_ONCE

        await eventually(are_running, what="as many run as may")
        for caller in (house.caller, other):
            await house.run("agents.list", caller, status="active")
            await house.run("twins.list", caller, q="some")
        assert await are_running()
        assert not any(search.done() for search in searches)
        await house.rows("INSERT INTO gate DEFAULT VALUES RETURNING 1")
        assert [page.items for page in await asyncio.gather(*searches)] == [[]] * MANY


@pytest.mark.parametrize("listed", ["events", "audit"])
async def test_lists_of_what_has_happened_leave_connections_to_others(house: House, listed: str):
    """A filter that no index has may look at millions of rows; here the table is locked meanwhile."""
    async with AsyncExitStack() as stack:
        holder, observer = await connect_as(house.url, "hub_owner"), await connect_as(house.url, None)
        stack.push_async_callback(observer.close)
        stack.push_async_callback(holder.close)
        await holder.execute("BEGIN")
        await holder.execute(f"LOCK TABLE {listed} IN ACCESS EXCLUSIVE MODE")
        lists = [asyncio.create_task(house.run(f"{listed}.list")) for _ in range(MANY)]

        async def are_waiting() -> bool:
            return await observer.fetchval(WAITING) == MOST_AT_ONCE

        await eventually(are_waiting, what="as many wait as may")
        await house.run("agents.list", status="active")
        assert int(await observer.fetchval(WAITING) or 0) <= MOST_AT_ONCE
        for each in lists:
            each.cancel()
        await asyncio.gather(*lists, return_exceptions=True)


async def test_turn_goes_to_who_has_waited_longest_and_not_to_who_has_left():
    """In the order in which they came; each organisation by itself."""
    turns, org_id = Turns(), new_id()
    gates = [asyncio.Event() for _ in range(MOST_AT_ONCE + 3)]
    began: list[int] = []

    async def search(number: int) -> None:
        async with turns.taken(org_id):
            began.append(number)
            await gates[number].wait()

    searches = [asyncio.create_task(search(number)) for number in range(len(gates))]
    await eventually(lambda: len(began) == MOST_AT_ONCE)
    async with turns.taken(new_id()):
        pass
    searches[MOST_AT_ONCE].cancel()
    gates[2].set()
    await eventually(lambda: len(began) > MOST_AT_ONCE)
    searches[0].cancel()
    await eventually(lambda: len(began) > MOST_AT_ONCE + 1)
    assert began == [*range(MOST_AT_ONCE), MOST_AT_ONCE + 1, MOST_AT_ONCE + 2]
    for gate in gates:
        gate.set()
    await asyncio.gather(*searches, return_exceptions=True)
