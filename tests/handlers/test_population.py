"""The total of a list of all: known without counting, and what counting would find, at every moment."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from core.operations.results import Page
from core.store.database import connect_as
from tests.handlers.house import House
from tests.handlers.test_fold import KINDS, step
from tests.harness.organisations import Organisations
from tests.harness.relaying import relaying

SEED, STEPS = 4711, 60
MOST_WAITING = 1_000


@pytest.fixture
async def asking(house: House) -> AsyncIterator[Any]:
    """A connection as requests of the organisation have it."""
    connection = await connect_as(house.url, "hub_app")
    await connection.execute("SELECT set_config('hub.org_id', $1::text, false)", str(house.caller.org_id))
    yield connection
    await connection.close()


async def known(asking: Any, kind: str) -> int | None:
    return await asking.fetchval("SELECT population($1)", kind)


async def check(asking: Any, kind: str, seed: int) -> int:
    """In one snapshot, what is known is what is there."""
    query = f"SELECT population($1) AS known, (SELECT count(*) FROM {kind}) AS counted"  # noqa: S608 - a table's name
    row = await asking.fetchrow(query, kind)
    assert row["known"] == row["counted"], (seed, kind)
    return row["counted"]


async def test_total_is_what_counting_finds_whatever_waits(house: House, asking: Any, organisations: Organisations):
    """Before the relay has moved anything, after it has, and of nobody else's."""
    dice, there = random.Random(SEED), list[tuple[str, str]]()
    other = await organisations.create()
    for number in range(STEPS):
        await step(house, dice, there)
        if number % 7 == 0:
            await house.run(f"{dice.choice(list(KINDS))}.create", other.caller(), name="Of another")
        if number == STEPS // 2:
            async with relaying(house.url) as relay:
                await relay.settled()
        for kind in KINDS:
            count = await check(asking, kind, SEED)
            assert count == sum(each == kind for each, _ in there), SEED
            page: Page = await house.run(f"{kind}.list", per_page=1)
            assert page.total == count
            window: Page = await house.run(f"{kind}.list", limit=1, sort="name")
            assert window.total == count


async def test_total_is_right_in_every_snapshot_while_the_relay_works(house: House, asking: Any):
    """What moves from the outbox into the log is at no moment in both, nor in neither."""
    async with relaying(house.url) as relay:

        async def writes() -> None:
            made = [await house.create("agents", name=f"n{number}") for number in range(60)]
            for each in made[::2]:
                await house.run("agents.delete", id=str(each.id))

        writing = asyncio.ensure_future(writes())
        looks = 0
        while not writing.done() or not looks:
            await check(asking, "agents", looks)
            looks += 1
        await writing
        await relay.settled()
        assert await check(asking, "agents", looks) == 30


@pytest.mark.parametrize("waiting", [MOST_WAITING, MOST_WAITING + 1])
async def test_where_much_waits_rows_are_counted(house: House, asking: Any, waiting: int):
    """A relay that stands still makes no list slow, nor wrong."""
    await house.create("twins", name="One")
    fill = (
        "INSERT INTO outbox (org_id, event_id, type, subject, channel, time, envelope) "
        "SELECT $1, gen_random_uuid(), 'agent.updated', 'agents/' || n, 'agents:' || n, now(), '{}' "
        "FROM generate_series(1, $2) AS n"
    )
    await house.rows(fill, house.caller.org_id, waiting - 1)
    assert await known(asking, "twins") == (1 if waiting <= MOST_WAITING else None)
    page: Page = await house.run("twins.list")
    assert (page.total, page.is_exact) == (1, True)


async def test_events_of_applications_are_no_resources(house: House, asking: Any):
    """Whatever their types and subjects are called."""
    fill = (
        "INSERT INTO outbox (org_id, event_id, type, subject, channel, time, envelope) "
        "VALUES ($1, gen_random_uuid(), $2, $3, 'a:b', now(), '{}')"
    )
    for type, subject in (
        ("shop.twin.created", "twins/x"),
        ("twin.created", "twins/pump"),
        ("twin.updated", "twins/y"),
    ):
        await house.rows(fill, house.caller.org_id, type, subject)
    assert await known(asking, "twins") == 0
