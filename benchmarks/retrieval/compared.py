"""Means of measures, and whether a difference is more than chance. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from handlers.knowledge.evaluation.measures import Measures

RESAMPLES = 10_000
_SEED = 9


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean difference of two systems over the same questions, and where it lies in 95 of 100 samples of questions."""

    mean: float
    least: float
    most: float


def difference(of: Sequence[float], to: Sequence[float]) -> Difference:
    """Return by how much one is above the other: the paired bootstrap.

    Sakai, "Evaluating evaluation metrics based on the bootstrap" (2006): questions are drawn again with replacement, both systems
    for the same ones.
    """
    apart = np.array(of) - np.array(to)
    dice = np.random.default_rng(_SEED)
    means = apart[dice.integers(0, len(apart), (RESAMPLES, len(apart)))].mean(axis=1)
    least, most = np.percentile(means, [2.5, 97.5])
    return Difference(float(apart.mean()), float(least), float(most))


def ndcgs(of: Sequence[Measures]) -> list[float]:
    """Return one measure of each question."""
    return [each.ndcg for each in of]
