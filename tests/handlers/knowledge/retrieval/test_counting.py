"""The counts: after any puts, replacements, removals and folds they are what a fresh count says."""

import asyncio
import random
from uuid import UUID

from core.ids import new_id
from tests.handlers.knowledge.retrieval.library import Library

WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta"]
_COUNTED = """
SELECT 'w:' || scope || ':' || lexeme AS what, chunks::bigint AS n FROM knowledge_lexemes
UNION ALL SELECT 'n:' || scope, chunks FROM knowledge_scopes
UNION ALL SELECT 'l:' || scope, length FROM knowledge_scopes
"""
_FRESH = """
SELECT 'w:' || scope || ':' || substr(each, strpos(each, '.') + 1) AS what, count(*) AS n
FROM chunk_terms CROSS JOIN LATERAL unnest(tsvector_to_array(terms)) AS each GROUP BY 1
UNION ALL
SELECT 'n:' || scope, count(t.chunk_id) FROM knowledge_scopes LEFT JOIN chunk_terms AS t USING (scope) GROUP BY scope
UNION ALL
SELECT 'l:' || scope, coalesce(sum(t.length), 0) FROM knowledge_scopes LEFT JOIN chunk_terms AS t USING (scope) GROUP BY scope
"""


async def counts(library: Library, query: str) -> dict[str, int]:
    return {row["what"]: row["n"] for row in await library.rows(query)}


async def test_counts_are_what_is_there(library: Library):
    """After two hundred random steps, folded now and then and by two at once."""
    dice = random.Random(11)
    bases = [new_id(), new_id()]
    there: list[tuple[UUID, UUID]] = []
    for step in range(200):
        words = [" ".join(dice.choices(WORDS, k=dice.randint(1, 6))) for _ in range(dice.randint(0, 3))]
        what = dice.random()
        if what < 0.5 or not there:
            base = dice.choice(bases)
            there.append((base, await library.document(base, f"d{step}", *words)))
        elif what < 0.8:
            await library.put(*dice.choice(there), *words)
        else:
            base, id = there.pop(dice.randrange(len(there)))
            async with library.database.transaction(library.org_id) as db:
                await library.index.remove(db, base, id)
        if dice.random() < 0.1:
            await asyncio.gather(library.fold(), library.fold())
    await library.fold()
    assert await library.rows("SELECT 1 FROM knowledge_changes") == []
    assert await counts(library, _COUNTED) == await counts(library, _FRESH)


async def test_writers_and_folds_do_not_wait_for_one_another(library: Library):
    """A fold that is under way holds nobody who writes; another fold leaves its scope alone."""
    base = new_id()
    await library.document(base, "a", "alpha")
    async with library.database.transaction(library.org_id) as db:
        assert await db.fetchval("SELECT fold_knowledge(100)") == 1
        await library.document(base, "b", "alpha beta")
        assert await library.fold() == 0
    assert await library.fold() == 1
    assert await counts(library, _COUNTED) == await counts(library, _FRESH)


async def test_a_change_is_undone_with_its_transaction(library: Library):
    """Counts say nothing of what was rolled back."""
    base = new_id()
    id = await library.document(base, "a", "alpha")
    try:
        async with library.database.transaction(library.org_id) as db:
            await library.index.remove(db, base, id)
            raise LookupError
    except LookupError:
        pass
    await library.fold()
    assert await library.names("alpha", base) == ["a"]
    assert await counts(library, _COUNTED) == await counts(library, _FRESH)
