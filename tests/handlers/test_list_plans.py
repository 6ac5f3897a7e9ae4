"""What lists read: pages of the database that hold the organisation's own rows, however many others have."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import orjson
import pytest

from core.store.database import connect_as
from handlers.resources.listing import Listing
from handlers.resources.models import ListInput
from tests.harness.organisations import Organisations

_FILL = """
INSERT INTO agents (org_id, id, version, name, type, status, created_at, updated_at, document, search)
SELECT $1, gen_random_uuid(), 1, 'Agent ' || n, 'assistant', CASE n % 10 WHEN 0 THEN 'off' ELSE 'active' END,
    '2026-01-01Z'::timestamptz + n * '1 s'::interval, '2026-02-01Z'::timestamptz - n * '1 s'::interval,
    '{"metadata": {"team": "t' || n % 20 || '", "level": ' || n || '}, "pad": "' || repeat('x', 400) || '"}',
    'agent ' || n || chr(10) || 'assistant'
FROM generate_series(1, $2) AS n
"""
LISTS: list[dict[str, Any]] = [
    {},
    {"page": 3},
    {"status": "off"},
    {"type": "assistant", "status": "active"},
    {"sort": "name"},
    {"sort": "-updated_at"},
    {"sort": "status"},
    {"sort": "-type,name"},
    {"limit": 20, "sort": "-name"},
    {"filter": {"created_at": {"gte": "2026-01-01"}}},
    {"filter": {"name": {"prefix": "Agent 1"}}},
    {"filter": {"metadata.team": "t3"}},
    {"filter": {"metadata.level": {"gte": 5}}},
    {"filter": {"metadata.team": {"ne": "t3"}}},
    {"q": "agent 17"},
    {"q": "a"},
    {"q": "agent", "sort": "name", "limit": 5},
]


class Explained:
    """Statements of one organisation that are explained and not answered; keeps how many pages of the database they read."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.pages = 0
        self.nodes: list[str] = []

    async def fetchrow(self, query: str, *args: object) -> Any:
        """Run and explain a list's statement; its answer is an empty list."""
        (row,) = await self._connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}", *args)
        plan = orjson.loads(row[0])[0]["Plan"]
        self.pages = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        self.nodes = orjson.dumps(plan).decode().split('"Node Type":"')[1:]
        return {"items": None, "bytes": 0, "total": 0, "found": 0}


@pytest.fixture
async def crowded(database_url: str, organisations: Organisations) -> AsyncIterator[tuple[Any, UUID, UUID]]:
    """A connection as requests have it, a small organisation and a large one; the statistics know of both."""
    small, large = (await organisations.create()).id, (await organisations.create()).id
    owner = await connect_as(database_url, "hub_owner")
    connection = await connect_as(database_url, "hub_app")
    try:
        for org_id, count in ((large, 12_000), (small, 100)):
            await owner.execute(_FILL, org_id, count)
        await owner.execute("VACUUM ANALYZE agents")
        yield connection, small, large
    finally:
        await connection.close()
        await owner.close()


async def test_no_list_reads_the_rows_of_other_organisations(crowded: tuple[Any, UUID, UUID]):
    """A list of a hundred reads what a hundred take, beside twelve thousand of another."""
    connection, small, _ = crowded
    await connection.execute("SELECT set_config('hub.org_id', $1::text, false)", str(small))
    table = await connection.fetchval("SELECT pg_relation_size('agents') / 8192")
    for wanted in LISTS:
        explained = Explained(connection)
        await Listing("agents", ["id"]).list(explained, ListInput.model_validate(wanted), None)  # pyright: ignore[reportArgumentType] - what a list asks
        assert not [node for node in explained.nodes if node.startswith("Seq Scan")], wanted
        # Once for the page, once for the total, and the levels of the indexes.
        assert explained.pages < table / 2, (wanted, explained.pages, table)


async def test_what_few_match_is_found_by_an_index_in_a_large_organisation(crowded: tuple[Any, UUID, UUID]):
    """A sort, a window behind a cursor, a value of metadata, a word: each reads a small part of the organisation's rows."""
    connection, _, large = crowded
    await connection.execute("SELECT set_config('hub.org_id', $1::text, false)", str(large))
    table = await connection.fetchval("SELECT pg_relation_size('agents') / 8192")
    lists: list[dict[str, Any]] = [
        {"filter": {"metadata.level": 77}},
        {"q": "agent 11999"},
        *LISTS[:3],
        *LISTS[4:7],
        LISTS[8],
    ]
    for wanted in lists:
        explained = Explained(connection)
        await Listing("agents", ["id"]).list(explained, ListInput.model_validate(wanted), None)  # pyright: ignore[reportArgumentType] - what a list asks
        assert explained.pages < table / 4, (wanted, explained.pages, table)


async def test_total_of_all_is_known_without_counting(crowded: tuple[Any, UUID, UUID]):
    """A list of twelve thousand reads what a page takes, and some pages more for the total."""
    connection, _, large = crowded
    await connection.execute("SELECT set_config('hub.org_id', $1::text, false)", str(large))
    for wanted in ({}, {"sort": "name"}, {"limit": 20, "sort": "-name"}):
        # The first reads what the function is made of, too.
        first, explained = [Explained(connection) for _ in range(2)]
        for each in (first, explained):
            await Listing("agents", ["id"]).list(each, ListInput.model_validate(wanted), None)  # pyright: ignore[reportArgumentType] - what a list asks
        assert explained.pages < 60, (wanted, explained.pages)
