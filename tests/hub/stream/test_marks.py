"""Going on from a time, or from an event, instead of an offset."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from core.store.database import connect_as
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation, Organisations
from tests.harness.waiting import eventually
from tests.hub.stream.node import Node, numbers_of

HOUR = timedelta(hours=1)
NO_MOMENTS = [
    *("", "yesterday", "2026-01-01", "2026-02-30T00:00:00Z", "2026-01-01T00:00:00", "0001-01-01T00:00:00+23:59"),
    *(5, True, []),
]
START = datetime(2026, 1, 1, tzinfo=UTC)


async def dated(node: Node, organisation: Organisation, database_url: str, count: int) -> None:
    """Write events, recorded an hour apart, but each third together with the one before it."""
    await node.emit(organisation.id, count)
    await node.logged(organisation.id, count)
    connection = await connect_as(database_url, "hub_owner")
    await connection.execute(
        "UPDATE hub.events SET recorded_at = $2::timestamptz + (position - (position % 3 = 0)::int) * interval '1 hour' "
        "WHERE org_id = $1",
        organisation.id,
        START,
    )
    await connection.close()


def hour_of(position: int) -> int:
    return position - (position % 3 == 0)


class TestSince:
    """Events after the last one that was recorded not later than the moment."""

    async def test_every_moment_of_a_log(self, node: Node, organisation: Organisation, database_url: str):
        """Before, at, between and after all; against counting."""
        await dated(node, organisation, database_url, 40)
        for half in range(-2, 90):
            moment = START + half * HOUR / 2
            expected = sum(hour_of(position) * HOUR <= moment - START for position in range(1, 41))
            assert await node.log.position_at(organisation.id, moment) == expected

    async def test_empty_log_has_nothing_before_it(self, node: Node, organisation: Organisation):
        assert await node.log.position_at(organisation.id, START) == 0

    @pytest.mark.parametrize(
        "moment", ["2026-01-01T20:30:00Z", "2026-01-01t21:30:00.0+01:00", "2026-01-01T20:30:00.123456789Z"]
    )
    async def test_what_came_after_it_follows(
        self, node: Node, key: str, organisation: Organisation, database_url: str, moment: str
    ):
        """In any way of writing the same moment; the answer says where that is."""
        await dated(node, organisation, database_url, 40)
        async with node.open(key) as client:
            answer = await client.subscribe({"channel": "agents", "since": moment})
            assert (answer["channels"][0]["offset"], answer["channels"][0]["recovered"]) == ("21", True)
            assert numbers_of(await client.events(19)) == list(range(22, 41))
            await client.quiet()

    @pytest.mark.parametrize("since", NO_MOMENTS)
    async def test_what_is_no_moment_is_the_items_fault(self, node: Node, key: str, since: Any):
        async with node.open(key) as client:
            answer = await client.subscribe({"channel": "agents", "since": since}, "twins")
            assert answer["channels"][0]["error"]["details"][0]["field"] == "since"
            assert "error" not in answer["channels"][1]

    @pytest.mark.parametrize(
        "item",
        [
            {"channel": "agents", "since": "2026-01-01T00:00:00Z", "offset": "1"},
            {"channel": "agents", "after_event": str(uuid4()), "offset": "1"},
            {"channel": "agents", "since": "2026-01-01T00:00:00Z", "after_event": str(uuid4())},
            {"channel": "chat:lobby", "since": "2026-01-01T00:00:00Z"},
        ],
    )
    async def test_one_place_a_channel(self, node: Node, key: str, item: Any):
        """And live rooms know offsets alone."""
        async with node.open(key) as client:
            answer = await client.subscribe(item)
            assert answer["channels"][0]["error"]["code"] == "VALIDATION_ERROR"


async def event_ids(database_url: str, organisation: Organisation) -> list[UUID]:
    connection = await connect_as(database_url, "hub_owner")
    rows = await connection.fetch(
        "SELECT event_id FROM hub.events WHERE org_id = $1 ORDER BY position", organisation.id
    )
    await connection.close()
    return [row["event_id"] for row in rows]


class TestAfterEvent:
    """Events after that one: a client that has just written misses nothing that follows its write."""

    async def test_what_came_after_it_follows(
        self, node: Node, key: str, organisation: Organisation, database_url: str
    ):
        await node.emit(organisation.id, 10)
        await node.logged(organisation.id, 10)
        ids = await event_ids(database_url, organisation)
        async with node.open(key) as client:
            answer = await client.subscribe({"channel": "agents", "after_event": str(ids[6])}, "twins")
            assert (answer["channels"][0]["offset"], answer["channels"][0]["recovered"]) == ("7", True)
            assert numbers_of(await client.events(3)) == [8, 9, 10]
            await client.quiet()

    async def test_event_of_ones_own_write_has_its_position_by_then(self, node: Node, key: str, clock: ManualClock):
        """However soon after the answer it is asked for."""
        async with node.open(key) as client:
            made = await client.ask({"type": "call", "operation": "agents.create", "input": {"name": "A", "type": "x"}})
            asking = asyncio.ensure_future(client.subscribe({"channel": "agents", "after_event": made["event_id"]}))

            async def answered() -> bool:
                await clock.advance(0.05)
                return asking.done()

            await eventually(answered)
            assert (await asking)["channels"][0]["offset"] == "1"

    async def test_event_that_does_not_come_refuses_its_channel_alone(
        self, node: Node, key: str, clock: ManualClock, organisations: Organisations, database_url: str
    ):
        """After ten seconds; one of another organisation is none."""
        other = await organisations.create()
        await node.emit(other.id)
        await eventually(lambda: event_ids(database_url, other))
        (foreign,) = await event_ids(database_url, other)
        async with node.open(key) as client:
            asking = asyncio.ensure_future(
                client.subscribe({"channel": "agents", "after_event": str(foreign)}, "twins")
            )

            async def answered() -> bool:
                await clock.advance(1.0)
                return asking.done()

            await eventually(answered)
            agents, twins = (await asking)["channels"]
            assert agents["error"]["code"] == "TIMEOUT"
            assert twins["offset"] == "0"
            await client.ask({"type": "ping"})

    @pytest.mark.parametrize("event", ["", "x", 5, [], "0192"])
    async def test_what_is_no_id_is_the_items_fault(self, node: Node, key: str, event: Any):
        async with node.open(key) as client:
            answer = await client.subscribe({"channel": "agents", "after_event": event})
            assert answer["channels"][0]["error"]["details"][0]["field"] == "after_event"
