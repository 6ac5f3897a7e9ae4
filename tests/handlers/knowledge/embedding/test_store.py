"""Vectors in PostgreSQL: how they are found in large scopes, and a server that has no pgvector."""

from urllib.parse import urlsplit

import numpy as np
import pytest

from core.store.database import Connection, Database, connect_as
from core.store.migrate import migrate
from handlers.knowledge.embedding import store
from handlers.knowledge.embedding.embedder import Floats
from handlers.knowledge.embedding.store import Model
from hub.commands.doctor import vectors_of
from tests.core.jobs.house import House
from tests.handlers.knowledge.embedding.chunks import Chunks
from tests.handlers.knowledge.embedding.endpoint import FakeEndpoint
from tests.handlers.knowledge.embedding.working import working
from tests.harness.clock import ManualClock
from tests.harness.engines import Template, add_vectors
from tests.harness.organisations import Organisations

MANY = 1_000


@pytest.fixture
async def many(chunks: Chunks) -> tuple[Model, Floats]:
    """A scope of many chunks with vectors around fifty centres, as those of texts are around their subjects."""
    rng = np.random.default_rng(7)
    centres = rng.normal(size=(50, 384))
    rows = (centres[rng.integers(0, 50, MANY)] + rng.normal(scale=0.7, size=(MANY, 384))).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    await chunks.add(*(f"chunk {number}" for number in range(MANY)))
    async with chunks.house.database.transaction(chunks.org_id) as db:
        model = await store.model_of(db, "wide", 384)
        ids = [each.id for each in await store.lacking_of_scope(db, model, chunks.scope, 0, MANY)]
        await store.put(db, model, dict(zip(ids, rows, strict=True)))
    return model, rows


async def test_large_scope_is_found_by_its_index_and_as_well(chunks: Chunks, many: tuple[Model, Floats]):
    """Nine of ten of the nearest are among those that the graph finds; a small scope is compared whole, and misses none."""
    model, rows = many
    found = 0
    # The graph pays for larger tables than a test's: sorting is made dear.
    db = await connect_as(chunks.house.url, "hub_app", enable_sort="off")
    try:
        await db.execute(f"SET hub.org_id = '{chunks.org_id}'")
        for row in rows[:20]:
            question = row + np.random.default_rng(3).normal(scale=0.02, size=384).astype(np.float32)
            question /= np.linalg.norm(question)
            whole = await store.near(db, [chunks.scope], model, question, 20)
            assert whole[0].similarity == pytest.approx(float(np.max(rows @ question)), abs=1e-3)
            by_index = await store.near(db, [chunks.scope], model, question, 20, few=0)
            found += len({each.chunk_id for each in whole} & {each.chunk_id for each in by_index})
        assert "chunk_vectors_near_384" in await _plan(db, "embedding::halfvec(384)", rows[0], chunks.scope, model)
        assert "chunk_vectors_near_384" not in await _plan(db, "embedding", rows[0], chunks.scope, model)
    finally:
        await db.close()
    assert found >= 20 * 20 * 0.9


async def _plan(connection: Connection, vector: str, row: Floats, scope: int, model: Model) -> str:
    """Return the plan of either statement of chunks_near."""
    question = "[" + ",".join(f"{number:.4f}" for number in row.tolist()) + "]"
    statement = f"""EXPLAIN SELECT chunk_id FROM chunk_vectors WHERE scope = {scope} AND model = {model.id} AND dimensions = 384
        AND embedding IS NOT NULL ORDER BY {vector} <#> '{question}'::halfvec LIMIT 20"""  # noqa: S608 - a test's own numbers
    return "\n".join(row[0] for row in await connection.fetch(statement))


async def test_small_part_of_a_large_index_fills_its_places(
    chunks: Chunks, many: tuple[Model, Floats], organisations: Organisations
):
    """The scan goes on until enough rows are of the scope, though thousands of others are nearer."""
    model, rows = many
    other = await Chunks.of_new_base(chunks.house, (await organisations.create()).id)
    await other.add(*(f"other {number}" for number in range(30)))
    async with chunks.house.database.transaction(other.org_id) as db:
        ids = [each.id for each in await store.lacking_of_scope(db, model, other.scope, 0, 30)]
        await store.put(db, model, dict(zip(ids, rows[:30], strict=True)))
        found = await store.near(db, [other.scope], model, rows[0], 10, few=0)
    assert len(found) == 10
    assert {each.chunk_id for each in found} <= set(ids)


async def test_without_pgvector_the_hub_works_and_doctor_says_so(
    empty_database_url: str, template: Template, endpoint: FakeEndpoint, clock: ManualClock
):
    """Somebody's own PostgreSQL: no vectors, no errors; with the extension the next `migrate` makes the tables."""
    await migrate(empty_database_url)
    database = Database(empty_database_url, role="hub_app", size=2)
    system = Database(empty_database_url, role="hub_system", size=2)
    house = House(empty_database_url, database, system, clock)
    organisation = await Organisations(empty_database_url).create()
    chunks = await Chunks.of_new_base(house, organisation.id)
    try:
        document_id = await chunks.add("the dog barks")
        async with working(house, endpoint) as hub:
            await hub.ask(chunks, document_id)
            assert await hub.jobs.sweep() == 0
            assert await hub.found(chunks, "who barks?") == []
            finding = await vectors_of(empty_database_url)
            assert finding.cure is not None
            assert "CREATE EXTENSION vector" in finding.cure
            await add_vectors(template.urls, urlsplit(empty_database_url).path.strip("/"))
            assert "migrate" in str((await vectors_of(empty_database_url)).cure)
            await migrate(empty_database_url)
            assert (await vectors_of(empty_database_url)).cure is None
            assert await hub.jobs.sweep() == 1
            await hub.settled()
            assert await hub.found(chunks, "who barks?") == ["the dog barks"]
    finally:
        await database.close()
        await system.close()
