"""How a knowledge base is doing: counts that follow its documents, however these change."""

import asyncio
import random
from typing import Any
from uuid import UUID

import orjson
import pytest

from core.ids import new_id
from core.store.database import Database
from handlers.knowledge.life.sweeping import fold_counts
from tests.handlers.house import House

_INSERT = """
INSERT INTO documents (org_id, id, knowledge_id, name, version, status, content_type, hash, bytes, language, created_at, updated_at)
SELECT $1, row.id, $2, row.id::text, 1, row.status, 'text/plain', '', row.bytes, row.language, now(), now()
FROM unnest($3::uuid[], $4::text[], $5::bigint[], $6::text[]) AS row (id, status, bytes, language)
"""


async def statistics(house: House, id: UUID) -> dict[str, Any]:
    return orjson.loads((await house.run("knowledge.statistics", id=str(id))).body)


async def add(house: House, base: UUID, *documents: tuple[str, int, str | None]) -> list[UUID]:
    ids = [new_id() for _ in documents]
    columns = ([each[place] for each in documents] for place in range(3))
    await house.rows(_INSERT, house.caller.org_id, base, ids, *columns)
    return ids


async def test_new_base_has_nothing(house: House):
    id = (await house.create("knowledge", name="Docs")).id
    told = await statistics(house, id)
    assert told["documents"] == {"total": 0, "pending": 0, "ready": 0, "failed": 0, "bytes": 0}
    assert (told["languages"], told["chunks"], told["terms"], told["vocabulary"]) == ({}, 0, 0, 0)
    assert (told["last_ingestion"], told["vectors"]) == (None, None)
    assert told["queries"]["week"] == {"count": 0, "without_results": 0, "median_ms": None, "p95_ms": None}


async def test_counts_follow_documents(house: House):
    """Through whatever happens to them, folded or not, beside those of another base."""
    rng = random.Random(9)
    base, other = [(await house.create("knowledge", name=name)).id for name in ("Docs", "Other")]
    await add(house, other, ("ready", 7, "german"))
    database = Database(house.url, role="hub_app", size=2)
    kept: dict[UUID, tuple[str, int, str | None]] = {}
    for _ in range(25):
        match rng.choice(("add", "change", "remove", "fold")):
            case "add":
                new = [("pending", rng.randrange(100), None) for _ in range(rng.randrange(1, 4))]
                kept |= dict(zip(await add(house, base, *new), new, strict=True))
            case "change" if kept:
                for id in rng.sample(list(kept), min(2, len(kept))):
                    kept[id] = (rng.choice(("ready", "failed")), rng.randrange(100), rng.choice(("english", "german")))
                    await house.rows(
                        "UPDATE documents SET status = $2, bytes = $3, language = $4 WHERE id = $1", id, *kept[id]
                    )
            case "remove" if kept:
                gone = rng.choice(list(kept))
                del kept[gone]
                await house.rows("DELETE FROM documents WHERE id = $1", gone)
            case _:
                await fold_counts(database)
        told = await statistics(house, base)
        for status in ("pending", "ready", "failed"):
            assert told["documents"][status] == sum(each[0] == status for each in kept.values())
        assert (
            told["documents"]["bytes"] == told["storage"]["documents_bytes"] == sum(each[1] for each in kept.values())
        )
        languages = [each[2] for each in kept.values() if each[2] is not None]
        assert told["languages"] == {each: languages.count(each) for each in sorted(set(languages))}
    assert (await statistics(house, other))["documents"]["ready"] == 1
    await database.close()


async def test_folds_beside_each_other_and_beside_writers_lose_nothing(house: House):
    base = (await house.create("knowledge", name="Docs")).id
    database = Database(house.url, role="hub_app", size=4)

    async def write() -> None:
        for _ in range(10):
            await add(house, base, ("ready", 1, "english"), ("failed", 1, None))

    async def fold() -> None:
        for _ in range(10):
            await fold_counts(database)

    await asyncio.gather(write(), write(), fold(), fold(), fold())
    assert (await statistics(house, base))["documents"]["total"] == 40
    await fold_counts(database)
    assert (await statistics(house, base))["documents"]["total"] == 40
    rows = await house.rows("SELECT count(*) AS n FROM knowledge_counts WHERE knowledge_id = $1", base)
    assert rows[0]["n"] == 2
    await database.close()


async def test_base_without_documents_leaves_no_counts(house: House):
    base = (await house.create("knowledge", name="Docs")).id
    await add(house, base, ("ready", 1, "english"))
    await house.rows("DELETE FROM documents WHERE knowledge_id = $1", base)
    database = Database(house.url, role="hub_app", size=1)
    await fold_counts(database)
    await database.close()
    assert not await house.rows("SELECT FROM knowledge_counts WHERE knowledge_id = $1", base)


async def test_index_is_counted_with_what_is_not_folded_in(house: House):
    """And of a model's vectors, how many chunks have one."""
    base = (await house.create("knowledge", name="Docs")).id
    org = house.caller.org_id
    (row,) = await house.rows(
        "INSERT INTO knowledge_scopes (org_id, knowledge_id, chunks, length) VALUES ($1, $2, 3, 30) RETURNING scope",
        org,
        base,
    )
    scope = row["scope"]
    await house.rows(
        "INSERT INTO knowledge_changes (org_id, scope, chunks, length, lexemes, counts) VALUES ($1, $2, 1, 12, '{}', '{}')",
        org,
        scope,
    )
    await house.rows(
        "INSERT INTO knowledge_lexemes SELECT $1, $2, 'word' || n, 1 FROM generate_series(1, 9) n", org, scope
    )
    chunks = await house.rows(
        "INSERT INTO chunks (org_id, scope, knowledge_id, ordinal, kind, language, place, text)"
        " SELECT $1, $2, $3, n, 'text', 'english', '{}', 'x' FROM generate_series(1, 4) n RETURNING id",
        org,
        scope,
        base,
    )
    told = await statistics(house, base)
    assert (told["chunks"], told["terms"], told["vocabulary"], told["vocabulary_exact"]) == (4, 42, 9, True)
    assert told["vectors"] is None
    # Never more than there is on disk, also where nothing has counted the rows yet.
    (disk,) = await house.rows(
        "SELECT pg_total_relation_size('chunks') + pg_total_relation_size('chunk_terms') AS bytes"
    )
    assert 0 < told["storage"]["index_bytes"] <= disk["bytes"]
    if not await house.rows("SELECT 1 WHERE to_regclass('chunk_vectors') IS NOT NULL"):
        pytest.skip("the vectors of statistics were NOT tested: PostgreSQL has no pgvector")
    (model,) = await house.rows("INSERT INTO embedding_models (name, dimensions) VALUES ('tiny', 2) RETURNING id")
    await house.rows(
        "INSERT INTO chunk_vectors (scope, model, chunk_id, org_id, knowledge_id, dimensions, embedding)"
        " SELECT $1, $2, unnest($3::bigint[]), $4, $5, 2, '[0,1]'",
        scope,
        model["id"],
        [each["id"] for each in chunks[:3]],
        org,
        base,
    )
    assert (await statistics(house, base))["vectors"] == {"model": "tiny", "chunks": 3, "share": 0.75}
