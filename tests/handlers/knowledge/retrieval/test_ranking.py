"""Scores are those of BM25, as an independent count of the same chunks has them."""

import math
import random
from collections import Counter
from collections.abc import Sequence

from core.ids import new_id
from handlers.knowledge.parsing.parsed import Chunk, Terms
from handlers.knowledge.retrieval.question import asked
from handlers.knowledge.retrieval.scoring import K1, B, Scope, Weighed, looked_at
from tests.handlers.knowledge.retrieval.library import Library, chunk

WORDS = [f"{first}{second}x" for first in "bdfglmprst" for second in "aeiou"]


def texts(dice: random.Random, count: int) -> list[Chunk]:
    """Return chunks of words that are rare and common, as words are."""
    weights = [1 / (place + 1) for place in range(len(WORDS))]
    return [
        chunk(
            " ".join(dice.choices(WORDS, weights, k=dice.randint(1, 400))),
            *dice.choices(WORDS, weights, k=dice.randint(0, 3)),
        )
        for _ in range(count)
    ]


def bm25(chunks: Sequence[Chunk], terms: Sequence[str]) -> dict[int, float]:
    """Score chunks the way the textbook says, by counting."""
    all = [each.terms for each in chunks if isinstance(each.terms, Terms)]
    average = sum(each.length for each in all) / len(all)
    df = Counter(term for each in all for term in each.positions)
    scores: dict[int, float] = {}
    for at, each in enumerate(all):
        norm = K1 * (1 - B + B * each.length / average)
        for term in terms:
            places = each.positions.get(term, [])[:255]
            if places:
                tf = len(places)
                idf = math.log(1 + (len(all) - df[term] + 0.5) / (df[term] + 0.5))
                scores[at] = scores.get(at, 0) + idf * tf / (tf + norm)
    return scores


async def test_scores_are_those_of_bm25(library: Library):
    """To six digits, with headings, and up to the 255 occurrences that a tsvector counts."""
    dice = random.Random(7)
    chunks = [*texts(dice, 120), chunk("bao " * 300 + "bux"), chunk("box " * 250)]
    base = new_id()
    for at, each in enumerate(chunks):
        await library.document(base, str(at), each)
    await library.fold()
    for question in ("box", "bax bex", "tux sox gax", "bao", "bax bex bix box bux dax dex"):
        terms = asked(question, ("english",)).terms
        expected = bm25(chunks, terms)
        found = await library.find(question, base, limit=100)
        assert len(found.hits) == min(100, len(expected))
        for hit in found.hits:
            assert math.isclose(hit.score, expected[int(hit.name)], rel_tol=1e-6)
        assert math.isclose(found.hits[0].score, max(expected.values()), rel_tol=1e-6)


def test_common_words_are_looked_at_only_together():
    """A rare term opens its chunks; of common ones all in a chunk, so that a question costs the same in a large base."""
    question = asked("rare often always", ("english",))
    scope = (Scope(10, 1_000_000, 1, ("english",)),)
    rare, often, always = Weighed("rare", 3), Weighed("often", 60_000), Weighed("alway", 700_000)
    wanted = looked_at(question, [rare, often, always], scope)
    assert "'a.rare'" in wanted
    assert "('a.often') & ('a.alway')" in wanted
    assert looked_at(question, [often], scope) == "'a.often'"
    assert looked_at(question, [], scope) == ""
    everything = looked_at(question, [rare, often, always], scope, bounded=False)
    assert everything == "'a.rare' | 'a.often' | 'a.alway'"
