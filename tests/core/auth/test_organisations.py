"""Organisations, their tiers and their limits."""

import asyncio
import re
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from core.auth.organisations import (
    ensure_organisation,
    find_organisation,
    is_slug,
    list_organisations,
    parse_limits,
    set_limits,
    set_tier,
)
from core.auth.tiers import TIERS, Limits, effective_limits
from core.errors import HubError
from core.ids import new_id
from core.store.database import Connection, connect_as


@pytest.fixture
async def owner(database_url: str) -> AsyncGenerator[Connection]:
    """A connection as the commands have it."""
    connection = await connect_as(database_url, "hub_owner")
    yield connection
    await connection.close()


def test_tiers_are_those_of_the_documentation():
    """Requests an hour, burst, connections."""
    assert {
        "free": Limits(1000, 100, 10),
        "pro": Limits(10000, 500, 100),
        "enterprise": Limits(100000, 2000, 1000),
    } == TIERS


def test_overrides_stand_in_place_of_the_tier():
    """Each by itself; zero is a limit too; a name of a later release is passed over."""
    assert effective_limits("free", {"burst": 0, "per_minute": 7}) == Limits(1000, 0, 10)


async def test_organisation_is_made_once_and_keeps_its_tier(owner: Connection):
    """The second call finds it, whatever tier it names."""
    made = await ensure_organisation(owner, "acme")
    again = await ensure_organisation(owner, "acme", "pro")
    assert made == again
    assert (made.slug, made.tier, made.limits) == ("acme", "free", TIERS["free"])
    assert (await ensure_organisation(owner, "big", "enterprise")).tier == "enterprise"
    assert [item.slug for item in await list_organisations(owner)] == ["acme", "big"]


async def test_organisation_has_a_head_from_the_start(owner: Connection):
    """The log counts from 0 for it."""
    made = await ensure_organisation(owner, "acme")
    assert await owner.fetchval("SELECT position FROM heads WHERE org_id = $1", made.id) == 0


async def test_organisation_made_by_several_at_once_is_one(database_url: str):
    """One wins, all get it."""
    connections = await asyncio.gather(*(connect_as(database_url, "hub_owner") for _ in range(5)))
    made = await asyncio.gather(*(ensure_organisation(each, "acme") for each in connections))
    assert len({item.id for item in made}) == 1
    for connection in connections:
        await connection.close()


async def test_organisation_that_another_is_still_making_is_waited_for(database_url: str):
    """Uncommitted, it cannot be seen yet; once it is committed the second gets the same."""
    first, second = await connect_as(database_url, "hub_owner"), await connect_as(database_url, "hub_owner")
    async with first.transaction():
        made = await ensure_organisation(first, "acme")
        waiting = asyncio.ensure_future(ensure_organisation(second, "acme"))
        await asyncio.sleep(0)
    assert (await waiting).id == made.id
    await first.close()
    await second.close()


@pytest.mark.parametrize(
    "slug", ["", "Acme", "a b", "-a", "a" * 64, "a\n", "é", "a\0", "0198c0de-0000-7000-8000-000000000000"]
)
async def test_slug_that_cannot_be_is_refused(owner: Connection, slug: str):
    """A UUID above all: it could be another organisation's id."""
    assert not is_slug(slug)
    with pytest.raises(HubError) as caught:
        await ensure_organisation(owner, slug)
    assert caught.value.code == "VALIDATION_ERROR"


async def test_tier_is_changed_by_slug_or_id(owner: Connection):
    """Limits of its own stay."""
    made = await ensure_organisation(owner, "acme")
    await set_limits(owner, "acme", {"burst": 7})
    assert (await set_tier(owner, "acme", "pro")).limits == Limits(10000, 7, 100)
    assert (await set_tier(owner, str(made.id).upper(), "enterprise")).tier == "enterprise"
    with pytest.raises(HubError, match="gold"):
        await set_tier(owner, "acme", "gold")


async def test_limits_are_set_and_given_back_by_name(owner: Connection):
    """What is not named stays."""
    await ensure_organisation(owner, "acme")
    await set_limits(owner, "acme", {"burst": 7, "requests_per_hour": 0})
    after = await set_limits(owner, "acme", {"burst": None, "concurrent_connections": 3})
    assert after.overrides == {"requests_per_hour": 0, "concurrent_connections": 3}
    assert after.limits == Limits(0, 100, 3)
    assert await find_organisation(owner, "acme") == after


@pytest.mark.parametrize(
    "limits",
    [{"speed": 1}, {"burst": -1}, {"burst": 1.5}, {"burst": True}, {"burst": "7"}, {"burst": 2**53}, {"x": None}],
)
async def test_limit_that_cannot_be_is_refused(owner: Connection, limits: dict[str, Any]):
    """An unknown name, or no whole number from 0 up."""
    await ensure_organisation(owner, "acme")
    with pytest.raises(HubError) as caught:
        await set_limits(owner, "acme", limits)
    assert caught.value.code == "VALIDATION_ERROR"
    assert next(iter(limits)) in caught.value.text
    assert (await find_organisation(owner, "acme")).overrides == {}


async def test_unknown_organisation_is_not_found(owner: Connection):
    """By whatever name."""
    for name in ("nobody", "", "a\0b", str(new_id())):
        for call in (
            find_organisation(owner, name),
            set_tier(owner, name, "pro"),
            set_limits(owner, name, {"burst": 1}),
        ):
            with pytest.raises(HubError) as caught:
                await call
            assert caught.value.code == "RESOURCE_NOT_FOUND"


def test_limits_of_the_command_line_are_read():
    """A number, or nothing for the tier's own."""
    wanted = {"burst": 5, "requests_per_hour": None, "concurrent_connections": None}
    assert parse_limits(["burst=5", "requests_per_hour=", "concurrent_connections=default"]) == wanted


@pytest.mark.parametrize(
    "item", ["burst", "burst=-1", "burst=1.5", "burst=x", "burst=²", "speed=1", "=1", "burst=" + "9" * 30]
)
def test_limit_of_the_command_line_that_cannot_be_is_named(item: str):
    """The text says which."""
    with pytest.raises(HubError, match=re.escape(repr(item.partition("=")[0])[:-1])) as caught:
        parse_limits(["burst=1", item])
    assert caught.value.code == "VALIDATION_ERROR"
