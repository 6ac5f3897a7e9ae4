"""What terms weigh, and which chunks are looked at for them. No I/O.

BM25 as in Robertson and Zaragoza, "The Probabilistic Relevance Framework" (2009), with the idf of Lucene, which is never negative.
Ranking all chunks that have any word of a question would take long where words are common. As in MaxScore (Turtle and Flood, 1995)
the rare ones decide: chunks that have a rare term, or several common ones together, are looked at, and all terms count in them.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from handlers.knowledge.retrieval.lexemes import all_of, any_of, in_a_row, quoted, scoped
from handlers.knowledge.retrieval.question import Places, Question

# Of values that do about as well on the questions of `make eval`, those nearest to what is usual. Chunks are of about one
# length, so theirs says less than a document's would.
K1 = 1.5
B = 0.6

MOST_TERMS = 32
# Chunks that are looked at for a question: what this many take is a few milliseconds.
BUDGET = 2_500
# Where nothing is rare and nothing stands together, this many of those that have the rarest term.
MOST_LOOKED = 12_000
_MOST_COMBINED = 10


@dataclass(frozen=True, slots=True)
class Scope:
    """What is searched together; `length` is of all its chunks, `changes` is how many of its writes are not folded yet."""

    scope: int
    chunks: int
    length: int
    languages: tuple[str, ...]
    changes: int = 0


@dataclass(frozen=True, slots=True)
class Weighed:
    """A term, or all terms with one beginning: in how many chunks it stands, and the tsquery of it in a scope."""

    term: str
    chunks: int
    is_beginning: bool = False

    def query(self, scope: int) -> str:
        """Return what finds it in a scope."""
        return quoted(scoped(scope, self.term)) + (":*" if self.is_beginning else "")


def idf(total: int, chunks: int) -> float:
    """Return what a term weighs that stands in `chunks` of `total`."""
    # Counts may be some seconds old: a term may stand in more chunks than there are.
    return math.log1p(max(total - chunks + 0.5, 0.5) / (chunks + 0.5))


def rarest(terms: Sequence[str], counts: Mapping[str, int]) -> list[Weighed]:
    """Return the terms that count, rarest first."""
    weighed = sorted((Weighed(term, counts[term]) for term in terms if term in counts), key=lambda each: each.chunks)
    return weighed[:MOST_TERMS]


def looked_at(question: Question, weighed: Sequence[Weighed], scopes: Sequence[Scope], *, bounded: bool = True) -> str:
    """Return the tsquery of the chunks that are ranked; empty where there is nothing to find.

    Without `bounded`, all that have any term: for a search among few chunks.
    """
    total = sum(each.chunks for each in scopes)
    chosen = _clauses(weighed, total) if bounded else [(each,) for each in weighed]
    per_scope = (_in_scope(each.scope, chosen, question) for each in scopes)
    return any_of(each for each in per_scope if each)


def _clauses(weighed: Sequence[Weighed], total: int) -> list[tuple[Weighed, ...]]:
    """Return sets of terms, rarest first, that together stand in not many more than BUDGET chunks: each set is to stand whole."""
    room = float(BUDGET)
    clauses: list[tuple[Weighed, ...]] = []
    for each in weighed:
        if each.chunks > room and each.chunks > 1:
            break
        clauses.append((each,))
        room -= each.chunks
    common = weighed[len(clauses) :]
    if common:
        clauses += _together(common, room, max(total, 1))
    return clauses or [(weighed[0],)] if weighed else []


def _together(common: Sequence[Weighed], room: float, total: int) -> Iterator[tuple[Weighed, ...]]:
    """Yield pairs of common terms while there is room, then larger sets in place of those pairs for which there is none."""
    taken: list[frozenset[str]] = []
    for size in (2, 3, 4):
        for some in combinations(common[:_MOST_COMBINED], size):
            names = frozenset(each.term for each in some)
            # As if they did not know of each other; those of one question do, so there are more.
            expected = size * total * math.prod(min(each.chunks / total, 1) for each in some)
            if expected <= room and not any(names > each for each in taken):
                room -= expected
                taken.append(names)
                yield some
    if len(common) > 1 and not taken:
        yield tuple(common[:_MOST_COMBINED])


def _in_scope(scope: int, clauses: Sequence[tuple[Weighed, ...]], question: Question) -> str:
    phrases = [_phrase(scope, rows) for rows in question.phrases]
    wanted = [] if phrases else [any_of(_all(scope, some) for some in clauses)]
    refused = [f"!({_phrase(scope, rows)})" for rows in question.refused]
    if not any(wanted) and not phrases:
        return ""
    parts = [*wanted, *phrases, *refused]
    return f"({all_of(parts)})" if len(parts) > 1 else parts[0]


def _all(scope: int, some: tuple[Weighed, ...]) -> str:
    return some[0].query(scope) if len(some) == 1 else f"({all_of(each.query(scope) for each in some)})"


def _phrase(scope: int, rows: tuple[Places, ...]) -> str:
    return any_of(f"({in_a_row([(scoped(scope, term), at) for term, at in row])})" for row in rows)
