"""What a word was meant to be."""

import pytest

from handlers.knowledge.retrieval.typos import distance, may_be_typo, meant


@pytest.mark.parametrize(
    ("one", "other", "wrong"),
    [
        ("schmidt", "schmidt", 0),
        ("schmitd", "schmidt", 1),
        ("schmit", "schmidt", 1),
        ("kitten", "sitting", 3),
        ("ab", "abcd", 2),
    ],
)
def test_distance(one: str, other: str, wrong: int):
    """Letters that are swapped are one mistake."""
    assert distance(one, other, 3) == distance(other, one, 3) == wrong


def test_distance_stops_above_the_bound():
    """More than what is asked for costs no more."""
    assert distance("abcdefgh", "stuvwxyz", 2) > 2
    assert distance("a" * 64, "a", 2) > 2


def test_least_wrong_is_meant_and_of_those_the_most_frequent():
    """One letter in a short word, two in a long one."""
    near = [("schmidt", 4), ("schmid", 9), ("smith", 100)]
    assert meant("schmitd", near) == ["schmid", "schmidt"]
    assert meant("knowlegde", [("knowledge", 1), ("knowledg", 3)]) == ["knowledge"]
    assert meant("haus", [("maus", 2), ("haut", 5)]) == ["haut", "maus"]
    assert meant("hauz", [("maut", 2)]) == []


def test_numbers_and_short_words_are_what_they_are():
    """Another number is another thing."""
    assert not may_be_typo("2024")
    assert not may_be_typo("abc")
    assert not may_be_typo("v1.2.3")
    assert may_be_typo("conatct")
