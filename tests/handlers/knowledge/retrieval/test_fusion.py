"""Words and meaning in one list: which decides when."""

from handlers.knowledge.retrieval.fusion import fused


def test_very_words_of_the_question_decide():
    """A chunk that has all of them comes before one that only means something like it."""
    assert next(iter(fused({1: 9.0, 2: 1.0}, 10.0, {2: 0.6, 1: 0.3}))) == 1


def test_meaning_decides_where_no_chunk_has_many_of_the_words():
    """One common word of a long question says little."""
    assert next(iter(fused({1: 2.0, 2: 1.5}, 20.0, {2: 0.7, 1: 0.1}))) == 2


def test_chunk_without_a_vector_is_no_nearer_than_those_with_one():
    """It is not embedded yet: it is neither lost nor first for that."""
    scores = fused({1: 5.0, 2: 5.0}, 10.0, {2: 0.4, 3: 0.2})
    assert list(scores) == [2, 1, 3]


def test_equal_ones_have_an_order():
    """The same question gives the same pages."""
    assert list(fused({}, 1.0, {5: 0.5, 3: 0.5})) == [3, 5]
