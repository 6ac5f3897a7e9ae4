"""How good a ranking is, by what is known to be relevant. No I/O.

A ranking has each item once, best first; items are relevant or not. A question for which nothing is relevant is refused, since
no measure says anything of it.
"""

import math
from collections.abc import Hashable, Iterable, Sequence, Set
from dataclasses import dataclass
from statistics import fmean
from typing import TypeVar

NDCG_DEPTH = 10
RECALL_DEPTH = 20

T = TypeVar("T", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Measures:
    """Of one question, or the means of several: each from 0, nothing found, to 1."""

    ndcg: float
    recall: float
    mrr: float


def ndcg(ranking: Sequence[T], relevant: Set[T], depth: int = NDCG_DEPTH) -> float:
    """Return the normalised discounted cumulative gain of the first `depth`.

    Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques" (2002), with the discount log2(rank + 1), as
    trec_eval has it: the gain of what is relevant is 1, over that of a ranking with all of it in front.
    """
    _expect_some(relevant)
    found = sum(1 / math.log2(rank + 1) for rank, item in enumerate(ranking[:depth], 1) if item in relevant)
    best = sum(1 / math.log2(rank + 1) for rank in range(1, min(len(relevant), depth) + 1))
    return found / best


def recall(ranking: Sequence[T], relevant: Set[T], depth: int = RECALL_DEPTH) -> float:
    """Return the share of what is relevant that is among the first `depth`."""
    _expect_some(relevant)
    return sum(item in relevant for item in ranking[:depth]) / len(relevant)


def reciprocal_rank(ranking: Iterable[T], relevant: Set[T]) -> float:
    """Return one over the rank of the first that is relevant; 0 where none is. Voorhees, TREC-8 question answering track (1999)."""
    _expect_some(relevant)
    return next((1 / rank for rank, item in enumerate(ranking, 1) if item in relevant), 0.0)


def measured(
    ranking: Sequence[T], relevant: Set[T], ndcg_depth: int = NDCG_DEPTH, recall_depth: int = RECALL_DEPTH
) -> Measures:
    """Return all three of one question."""
    return Measures(
        ndcg(ranking, relevant, ndcg_depth), recall(ranking, relevant, recall_depth), reciprocal_rank(ranking, relevant)
    )


def means(of: Sequence[Measures]) -> Measures:
    """Return the means over questions, of which there is at least one; each question counts the same."""
    return Measures(fmean(each.ndcg for each in of), fmean(each.recall for each in of), fmean(each.mrr for each in of))


def best_first(items: Iterable[T]) -> list[T]:
    """Return each item once, where it first stands: documents by their best chunk."""
    return list(dict.fromkeys(items))


def _expect_some(relevant: Set[T]) -> None:
    if not relevant:
        raise ValueError("nothing is relevant")
