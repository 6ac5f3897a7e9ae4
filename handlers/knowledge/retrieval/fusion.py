"""One list of two: scores by words and by meaning added up, and not too much of one document. No I/O."""

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

# What meaning counts for, words for the rest; tuned on the sets of `make eval`.
MEANING = 0.4
_FEWEST_OF_ONE = 3

T = TypeVar("T")


def fused(words: Mapping[int, float], most: float, meaning: Mapping[int, float]) -> dict[int, float]:
    """Return what each id scores in both together, best first; of equal ones the smaller id comes first.

    `words` are scores of BM25, of which a chunk that is all about all words of the question would have `most`; `meaning` are
    cosines. Where a chunk has the very words of the question they decide; where none has many, meaning does: a convex combination
    with a theoretical bound (Bruch, Gai and Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval", 2023). Reciprocal
    ranks know no such difference: with them keywords lost a quarter of what words alone find.
    """
    # What has no vector yet is no nearer than what has.
    least = min(meaning.values(), default=0.0)
    scores = {
        id: (1 - MEANING) * words.get(id, 0.0) / most + MEANING * meaning.get(id, least)
        for id in dict.fromkeys((*words, *meaning))
    }
    return dict(sorted(scores.items(), key=lambda each: (-each[1], each[0])))


def spread(ranked: Sequence[T], limit: int, whose: Callable[[T], Hashable]) -> list[T]:
    """Return the first `limit`, of which about half at most are one document's, unless there is nothing else."""
    most = max(_FEWEST_OF_ONE, (limit + 1) // 2)
    taken: list[int] = []
    left: list[int] = []
    of = Counter[Hashable]()
    for at, each in enumerate(ranked):
        owner = whose(each)
        if of[owner] < most:
            of[owner] += 1
            taken.append(at)
        else:
            left.append(at)
        if len(taken) == limit:
            break
    return [ranked[at] for at in sorted([*taken, *left[: limit - len(taken)]])]
