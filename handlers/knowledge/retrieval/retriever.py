"""Finds chunks: the one way for queries, answers and agents.

A question goes to PostgreSQL four times: what is searched, how many chunks have its words, which chunks are best, and what is in
these. A filter, a word that nobody knows and a beginning cost one more each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

import orjson

from core.store.statements import Statements
from handlers.knowledge.retrieval.analysis import analyser_of
from handlers.knowledge.retrieval.fusion import fused, spread
from handlers.knowledge.retrieval.index import SQL, read_place
from handlers.knowledge.retrieval.question import Question, asked
from handlers.knowledge.retrieval.reach import Within, reach
from handlers.knowledge.retrieval.scoring import (
    K1,
    MOST_LOOKED,
    MOST_TERMS,
    B,
    Scope,
    Weighed,
    idf,
    looked_at,
    rarest,
)
from handlers.knowledge.retrieval.search import AskedWord, Found, Hit, Search
from handlers.knowledge.retrieval.vocabulary import Vocabulary

_LEAST_RANKED = 50
_MOST_MATCHED = 32

Owner = tuple[UUID, UUID | None]


class Vectors(Protocol):
    """Finds chunks by what a question means."""

    async def prepare(self, question: str) -> None:
        """Ask the model, so that `near` has nothing to wait for."""
        ...

    async def near(
        self, db: Statements, within: Sequence[Within], question: str, limit: int, also: Sequence[int]
    ) -> Mapping[int, float]:
        """Return how similar the nearest chunks of all these are, and those of `also` that are among them, nearest first.

        A similarity is a cosine. None where it cannot tell.
        """
        ...


@dataclass(slots=True)
class _Ranked:
    """Best first in each."""

    scores: dict[int, float] = field(default_factory=dict[int, float])
    lexical: dict[int, int] = field(default_factory=dict[int, int])
    vector: dict[int, int] = field(default_factory=dict[int, int])
    owners: dict[int, Owner] = field(default_factory=dict[int, Owner])


class Retriever:
    """Finds by words, and by `vectors` where there are any."""

    def __init__(self, vectors: Vectors | None = None) -> None:
        self._vectors = vectors

    async def prepare(self, question: str) -> None:
        """Do what needs no connection: a model takes up to 1.5 s. Call it before a connection is taken for `find`.

        Without it `find` finds the same, but its connection waits for the model.
        """
        if self._vectors is not None:
            await self._vectors.prepare(question)

    async def find(self, db: Statements, search: Search, allowed: frozenset[UUID] | None) -> Found:
        """Return what a question finds in bases of the connection's organisation that the caller may read (`allowed` None: all).

        What is put into the index and committed is found. A base that is not there, or not the caller's, is an empty one.
        """
        within = await reach(db, search, allowed)
        if not within:
            return Found([], {})
        scopes = [scope for each in within for scope in each.scopes]
        question = asked(search.question, [name for each in scopes for name in each.languages])
        vocabulary = Vocabulary(db, scopes)
        question, corrected = await vocabulary.known(question)
        weighed = [*rarest(question.terms, vocabulary.counts), *await vocabulary.beginnings(question.beginnings)]
        most = max(search.limit * 4, _LEAST_RANKED)
        ranked = await _by_words(db, within, question, weighed[: 2 * MOST_TERMS], most)
        # Who quotes a phrase, or refuses a word, has said what must be found.
        if self._vectors is not None and not question.phrases and not question.refused:
            near = await self._vectors.near(db, within, search.question, most, list(ranked.scores))
            await _by_meaning(db, ranked, _bound(question, vocabulary.counts, scopes), near)
        chosen = spread(list(ranked.scores), search.limit, ranked.owners.get)
        rows = {row["id"]: row for row in await db.fetch(SQL["hits"], chosen)} if chosen else {}
        hits = [_hit(rows[id], ranked, question) for id in chosen if id in rows]
        words = _words(question, vocabulary.counts, corrected, sum(each.chunks for each in scopes))
        return Found(hits, _as_written(corrected, hits), words)


def _words(
    question: Question, counts: Mapping[str, int], corrected: Mapping[str, str], total: int
) -> tuple[AskedWord, ...]:
    rarest = idf(max(total, 1), 1)
    words: list[AskedWord] = []
    for word, terms in question.words:
        common = [counts[term] for term in terms if term in counts]
        known = bool(common) and word not in corrected
        words.append(AskedWord(word, terms, idf(max(total, 1), min(common)) if known else rarest, known))
    return tuple(words)


async def _by_words(
    db: Statements, within: Sequence[Within], question: Question, weighed: Sequence[Weighed], most: int
) -> _Ranked:
    total = sum(scope.chunks for each in within for scope in each.scopes)
    length = sum(scope.length for each in within for scope in each.scopes)
    weights = [idf(total, term.chunks) for term in weighed]
    found: list[Any] = []
    for each in within:
        wanted = looked_at(question, weighed, each.scopes, bounded=each.only is None)
        if not wanted:
            continue
        scopes = [scope.scope for scope in each.scopes]
        lexemes = [term.query(scope) for scope in scopes for term in weighed]
        bounds = (max(length, 1) / max(total, 1), K1, B, most, MOST_LOOKED)
        found += await db.fetch(SQL["rank"], wanted, each.only, each.filter, scopes, lexemes, weights, *bounds)
    found.sort(key=lambda row: (-row["score"], row["chunk_id"]))
    scores = {row["chunk_id"]: row["score"] for row in found[:most]}
    owners = {row["chunk_id"]: (row["knowledge_id"], row["document_id"]) for row in found}
    return _Ranked(scores, {id: rank for rank, id in enumerate(scores, 1)}, {}, owners)


async def _by_meaning(db: Statements, ranked: _Ranked, bound: float, near: Mapping[int, float]) -> None:
    if not near:
        return
    ranked.vector = {id: rank for rank, id in enumerate(near, 1)}
    ranked.scores = fused(ranked.scores, bound, near)
    rows = await db.fetch(SQL["owners"], [id for id in near if id not in ranked.owners])
    ranked.owners.update((row["id"], (row["knowledge_id"], row["document_id"])) for row in rows)


def _bound(question: Question, counts: Mapping[str, int], scopes: Sequence[Scope]) -> float:
    """Return what a chunk would score that is all about each word of the question, also of those that nothing has."""
    total = sum(each.chunks for each in scopes)
    return sum(max(idf(total, counts.get(term, 0)) for term in terms) for _, terms in question.words if terms) or 1.0


def _hit(row: Any, ranked: _Ranked, question: Question) -> Hit:
    id = row["id"]
    metadata: Mapping[str, Any] = orjson.loads(row["metadata"])
    return Hit(
        chunk_id=id,
        knowledge_id=row["knowledge_id"],
        document_id=row["document_id"],
        name=row["name"],
        title=row["title"],
        url=row["url"],
        metadata=metadata,
        ordinal=row["ordinal"],
        kind=row["kind"],
        language=row["language"],
        text=row["text"],
        place=read_place(row["place"]),
        score=ranked.scores[id],
        lexical=ranked.lexical.get(id),
        vector=ranked.vector.get(id),
        matched=_matched(row["text"], row["language"], question),
    )


def _matched(text: str, language: str, question: Question) -> tuple[str, ...]:
    terms = frozenset(question.terms)
    found: dict[str, None] = {}
    for token, word in analyser_of(language).words(text):
        if token in found:
            continue
        if any(term in terms or term.startswith(question.beginnings) for term, _ in word.lexemes):
            found[token] = None
            if len(found) == _MOST_MATCHED:
                break
    return tuple(found)


def _as_written(corrected: Mapping[str, str], hits: Sequence[Hit]) -> Mapping[str, str]:
    """Return the corrections in the form of the best hit that has them: an index knows only stems."""
    written = dict(corrected)
    for word, term in corrected.items():
        for hit in hits:
            words = analyser_of(hit.language).words(" ".join(hit.matched))
            found = (token for token, its in words if any(term == lexeme for lexeme, _ in its.lexemes))
            if (token := next(found, None)) is not None:
                written[word] = token.casefold()
                break
    return written
