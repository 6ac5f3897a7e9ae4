"""Measures of rankings against values that were worked out by hand."""

import math
import random

import pytest

from handlers.knowledge.evaluation.measures import (
    Measures,
    best_first,
    means,
    measured,
    ndcg,
    recall,
    reciprocal_rank,
)


@pytest.mark.parametrize(
    ("ranking", "relevant", "expected"),
    [
        ("abc", "a", 1.0),
        ("bac", "a", 1 / math.log2(3)),  # 0.6309
        ("bca", "a", 0.5),
        ("abc", "x", 0.0),
        ("abc", "ab", 1.0),
        ("acb", "ab", (1 + 0.5) / (1 + 1 / math.log2(3))),  # 0.9197
        ("cab", "ab", (1 / math.log2(3) + 0.5) / (1 + 1 / math.log2(3))),  # 0.6934
        ("", "a", 0.0),
    ],
)
def test_ndcg_by_hand(ranking: str, relevant: str, expected: float) -> None:
    assert ndcg(ranking, set(relevant)) == pytest.approx(expected)


def test_what_stands_below_the_depth_counts_nothing() -> None:
    ranking = "bcdefghijka"

    assert ndcg(ranking, {"a"}) == 0.0
    assert recall(ranking, {"a"}, 10) == 0.0
    assert recall(ranking, {"a"}) == 1.0
    assert reciprocal_rank(ranking, {"a"}) == pytest.approx(1 / 11)


def test_more_relevant_items_than_the_depth_can_be_ranked_perfectly() -> None:
    assert ndcg("abc", set("abcdef"), 3) == pytest.approx(1.0)
    assert recall("abc", set("abcdef"), 3) == pytest.approx(0.5)


def test_ndcg_has_the_values_of_its_paper() -> None:
    """The definition term by term, on rankings and relevance by a seed."""
    dice = random.Random(9)
    for _ in range(200):
        ranking = dice.sample(range(40), 30)
        relevant = set(dice.sample(range(40), dice.randint(1, 15)))
        gains = [1 if item in relevant else 0 for item in ranking[:10]]
        ideal = ([1] * len(relevant) + [0] * 10)[:10]
        expected = _dcg(gains) / _dcg(ideal)

        assert ndcg(ranking, relevant) == pytest.approx(expected)


def test_documents_rank_by_their_best_chunk() -> None:
    assert best_first(["a", "b", "a", "c", "b"]) == ["a", "b", "c"]


def test_means_are_over_questions() -> None:
    of = [measured("ab", {"a"}), measured("ab", {"x"})]

    assert means(of) == Measures(0.5, 0.5, 0.5)


def test_question_for_which_nothing_is_relevant_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing is relevant"):
        measured("ab", set())


def _dcg(gains: list[int]) -> float:
    return sum(gain / (math.log(rank + 1) / math.log(2)) for rank, gain in enumerate(gains, 1))
