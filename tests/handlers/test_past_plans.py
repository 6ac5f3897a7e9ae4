"""What questions about the past read: not the history of other organisations, and of one resource not every version."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from core.events.log import position_at
from core.store.database import connect_as
from handlers.resources.listing import Listing
from handlers.resources.models import ListInput
from handlers.resources.store import SQL
from tests.core.events.subscriptions.test_plans import explained
from tests.handlers.test_list_plans import Explained
from tests.harness.organisations import Organisations

# Event n is of resource n % $3::int: $2 events, and as many versions.
_EVENTS = """
INSERT INTO events (org_id, position, event_id, type, subject, channel, time, recorded_at, envelope)
SELECT $1::uuid, n, md5($1::uuid::text || n::text)::uuid, 'agent.updated', 'agents/' || n % $3::int, 'agents:' || n % $3::int,
    '2026-01-01Z'::timestamptz + n * '1 s'::interval, '2026-01-01Z'::timestamptz + n * '1 s'::interval, repeat('x', 300)
FROM generate_series(1, $2::int) AS n
"""
_HISTORY = """
INSERT INTO agents_history (org_id, id, version, from_event, to_event, from_time, document)
SELECT $1::uuid, md5($1::uuid::text || 'id' || n % $3::int)::uuid, (n - 1) / $3::int + 1, md5($1::uuid::text || n::text)::uuid,
    CASE WHEN n + $3::int <= $2::int THEN md5($1::uuid::text || (n + $3::int)::text)::uuid END,
    '2026-01-01Z'::timestamptz + n * '1 s'::interval,
    '{"name": "n' || n % 10 || '", "created_at": "2026-01-01T00:00:00Z", "metadata": {"n": ' || n || '}, ' ||
    '"pad": "' || repeat('x', 300) || '"}'
FROM generate_series(1, $2::int) AS n
"""
_LIVES = """
INSERT INTO lives (org_id, kind, id, created_at, born)
SELECT $1::uuid, 'agents', md5($1::uuid::text || 'id' || n % $3::int)::uuid, '2026-01-01Z'::timestamptz + n * '1 s'::interval, n
FROM generate_series(1, least($2::int, $3::int)) AS n
"""
_POPULATIONS = """
INSERT INTO populations (org_id, kind, position, total, newest)
SELECT $1::uuid, 'agents', n, n, '2026-01-01Z'::timestamptz + n * '1 s'::interval
FROM generate_series(1, least($2::int, $3::int)) AS n
"""
_ID = "SELECT md5($1::uuid::text || 'id0')::uuid"
LISTS: list[dict[str, Any]] = [
    {},
    {"page": 3},
    {"sort": "name"},
    {"limit": 20, "sort": "-name"},
    {"filter": {"metadata.n": 7}},
    {"filter": {"name": {"prefix": "n1"}}},
    {"type": "assistant", "status": "active", "sort": "-updated_at"},
]
# Of one resource with thousands of versions: what a list reads is of those that it asks about, not of their past.
OF_ONE: list[dict[str, Any]] = [*LISTS[2:], {"filter": {"metadata.n": {"ne": 7}}}]
LARGE, SMALL, BUSY = 20_000, 400, 8_000


class Explaining:
    """Explains what it is asked for, and keeps how many pages that read."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.pages, self.plan = 0, ""

    async def fetchval(self, query: str, *args: object) -> Any:
        """Explain a statement; its answer is 0."""
        self.pages, self.plan = await explained(self._connection, query, args)
        return 0


async def fill(owner: Any, org_id: UUID, events: int, resources: int) -> UUID:
    """Write a log and the history that it made; returns one of the resources."""
    for statement in (_EVENTS, _HISTORY, _LIVES, _POPULATIONS):
        await owner.execute(statement, org_id, events, resources)
    await owner.execute("UPDATE heads SET position = $2 WHERE org_id = $1", org_id, events)
    return await owner.fetchval(_ID, org_id)


@pytest.fixture
async def crowded(database_url: str, organisations: Organisations) -> AsyncIterator[tuple[Any, UUID, UUID]]:
    """A connection as requests of a small organisation have it, and two resources: with few versions, and with thousands."""
    small, busy, large = [(await organisations.create()).id for _ in range(3)]
    owner: Any = await connect_as(database_url, "hub_owner")
    connection = await connect_as(database_url, "hub_app")
    try:
        await fill(owner, large, LARGE, 5_000)
        few, many = await fill(owner, small, SMALL, 100), await fill(owner, busy, BUSY, 1)
        await owner.execute("VACUUM ANALYZE agents_history, events, lives, populations")
        await as_organisation(connection, small)
        yield connection, few, many
    finally:
        await connection.close()
        await owner.close()


async def as_organisation(connection: Any, org_id: UUID) -> None:
    await connection.execute("SELECT set_config('hub.org_id', $1::text, false)", str(org_id))


async def test_lists_of_then_read_the_organisations_own_history(crowded: tuple[Any, UUID, UUID]):
    """For a version of its own a few pages, beside tens of thousands of others."""
    connection, _, _ = crowded
    for wanted in LISTS:
        plan = Explained(connection)
        asked = ListInput.model_validate({**wanted, "as_of": "200"})
        await Listing("agents", ["id"]).list(plan, asked, None, 200)  # pyright: ignore[reportArgumentType] - what a list asks
        assert not [each for each in plan.nodes if each.startswith("Seq Scan") and "agents_history" in each], wanted
        assert not [each for each in plan.nodes if each.startswith("Seq Scan") and '"events"' in each], wanted
        # The page and the total, each with two looks into the log for a version.
        assert plan.pages < 20 * SMALL, (wanted, plan.pages)


@pytest.mark.parametrize("position", [1, BUSY // 2, BUSY])
async def test_lists_of_then_do_not_read_every_version(
    crowded: tuple[Any, UUID, UUID], database_url: str, position: int
):
    """By filters, type, status and another sort."""
    connection, _, many = crowded
    await as_organisation(connection, await organisation_of(database_url, many))
    for wanted in OF_ONE:
        plan = Explained(connection)
        asked = ListInput.model_validate({**wanted, "as_of": str(position)})
        await Listing("agents", ["id"]).list(plan, asked, None, position)  # pyright: ignore[reportArgumentType] - what a list asks
        assert plan.pages < 300, (wanted, plan.pages)


async def organisation_of(database_url: str, id: UUID) -> UUID:
    owner: Any = await connect_as(database_url, "hub_owner")
    try:
        return await owner.fetchval("SELECT org_id FROM agents_history WHERE id = $1 LIMIT 1", id)
    finally:
        await owner.close()


@pytest.mark.parametrize("position", [1, BUSY // 2, BUSY])
async def test_one_of_then_is_found_among_thousands_of_versions(
    crowded: tuple[Any, UUID, UUID], database_url: str, position: int
):
    """By halving: the versions of a twin that changes each second do not make its past slow."""
    connection, few, many = crowded
    query = SQL["find_past"].replace("{table}", "agents")
    pages, plan = await explained(connection, query, (few, min(position, SMALL)))
    assert pages < 100, plan
    await as_organisation(connection, await organisation_of(database_url, many))
    assert (await connection.fetchrow(query, many, position))["version"] == position
    pages, plan = await explained(connection, query, (many, position))
    assert pages < 300, plan


async def test_position_of_a_time_is_found_by_halving_the_log(crowded: tuple[Any, UUID, UUID], database_url: str):
    """Whatever the log's length."""
    connection, _, _ = crowded
    owner: Any = await connect_as(database_url, "hub_owner")
    try:
        query = "SELECT org_id, count(*) FROM events GROUP BY org_id HAVING count(*) = $1"
        org_id = await owner.fetchval(query, LARGE)
        moment = await owner.fetchval("SELECT recorded_at FROM events WHERE org_id = $1 AND position = 7777", org_id)
    finally:
        await owner.close()
    await as_organisation(connection, org_id)
    assert await position_at(connection, org_id, moment) == 7777
    asked = Explaining(connection)
    await position_at(asked, org_id, moment)  # pyright: ignore[reportArgumentType] - what it asks
    assert asked.pages < 100, asked.plan
