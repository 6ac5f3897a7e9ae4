"""What a search reads: rows of its own bases that have its words, however many others there are."""

from dataclasses import replace

from core.ids import new_id
from core.store.database import connect_as
from handlers.knowledge.retrieval.search import Search
from tests.handlers.knowledge.retrieval.library import Library
from tests.harness.organisations import Organisations

_CROWD = 8_000
_FILL = """
WITH scoped AS (
    INSERT INTO knowledge_scopes (org_id, knowledge_id, languages, chunks, length)
    VALUES ($1, $2, '{english}', $3::integer, $3::integer * 4) RETURNING scope
), made AS (
    INSERT INTO chunks (org_id, scope, knowledge_id, document_id, ordinal, kind, language, place, text)
    SELECT $1, scope, $2, gen_random_uuid(), 0, 'text', 'english', '{}', 'alpha beta word' || n
    FROM scoped, generate_series(1, $3::integer) AS n RETURNING id, scope, document_id, text
), words AS (
    INSERT INTO knowledge_lexemes (org_id, scope, lexeme, chunks)
    SELECT $1, scope, 'word' || n, 1 FROM scoped, generate_series(1, $3::integer) AS n
    UNION ALL SELECT $1, scope, 'alpha', $3::integer FROM scoped
)
INSERT INTO chunk_terms (chunk_id, org_id, scope, knowledge_id, document_id, length, terms)
SELECT id, $1, scope, $2, document_id, 4, array_to_tsvector(array(
    SELECT to_hex(scope) || '.' || each FROM unnest(string_to_array(text, ' ')) AS each)) FROM made
"""
_READ = """
SELECT relname, seq_tup_read + coalesce(idx_tup_fetch, 0) AS rows FROM pg_stat_xact_user_tables
WHERE relname IN ('chunks', 'chunk_terms', 'knowledge_lexemes', 'knowledge_scopes', 'documents')
"""


async def read(library: Library, question: str, search: Search) -> dict[str, int]:
    """Return how many rows of each table a search reads."""
    async with library.database.transaction(library.org_id) as db:
        # What the session has not handed over yet is in both.
        before = {row["relname"]: row["rows"] for row in await db.fetch(_READ)}
        await library.retriever.find(db, replace(search, question=question), None)
        return {row["relname"]: row["rows"] - before.get(row["relname"], 0) for row in await db.fetch(_READ)}


async def test_search_reads_what_it_finds(library: Library, organisations: Organisations, database_url: str):
    """Beside another organisation and another base with the same words; also with a typo, a beginning and a filter."""
    other, base = (await organisations.create()).id, new_id()
    owner = await connect_as(database_url, "hub_owner")
    try:
        await owner.execute(_FILL, other, new_id(), _CROWD)
        crowd = new_id()
        await library.document(crowd, "of the crowd")
        await owner.execute(_FILL, library.org_id, crowd, _CROWD)
        for number in range(10):
            await library.document(base, f"d{number}", f"alpha gamma{number} zeta", metadata={"n": number})
        await library.fold()
        await owner.execute("VACUUM ANALYZE chunks, chunk_terms, knowledge_lexemes, knowledge_scopes, documents")
    finally:
        await owner.close()
    one = Search("", (base,))
    for question in ("alpha zeta", "gamma5", '"alpha gamma5"', "zeta -alpha", "gamm*", "gamma55 zetta", "word17"):
        for search in (one, replace(one, filter={"n": 5})):
            rows = await read(library, question, search)
            assert sum(rows.values()) < 150, (question, search.filter, rows)
    everywhere = await read(library, "alpha word17", Search(""))
    assert everywhere["chunk_terms"] < 50, everywhere
    # A word that all chunks have, by itself, is the dearest question: its bound holds.
    assert (await read(library, "alpha", Search("")))["chunk_terms"] <= 12_000
