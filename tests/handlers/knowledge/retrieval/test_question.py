"""The syntax of questions: what is syntax, and what is only words."""

import time

from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.knowledge.retrieval.question import MOST_WORDS, Question, asked


def ask(text: str, *languages: str) -> Question:
    return asked(text, languages or ("english",))


def test_plain_words_are_terms():
    """What a stop word says is nothing."""
    assert ask("How do I install the SDK?").terms == ["instal", "sdk"]


def test_phrase_keeps_its_distances_and_its_words_count():
    """Quotes say that the words stand so."""
    question = ask('the "state of the art" now')
    assert question.phrases == (((("state", 0), ("art", 3)),),)
    assert question.terms == ["state", "art", "now"]


def test_refused_words_and_phrases():
    """A hyphen before a word refuses it."""
    question = ask('install -docker -"on windows"')
    assert question.terms == ["instal"]
    assert question.refused == (((("window", 1),),), ((("docker", 0),),))


def test_beginnings():
    """A star behind three letters or more is any ending."""
    question = ask("config* ab* set_time* *")
    assert question.beginnings == ("config", "settime")
    assert question.terms == ["ab"]


def test_what_is_no_syntax_is_words():
    """Quotes that do not close, options of commands, hyphens within, stars alone: people write so."""
    assert ask('say "hello').terms == ["say", "hello"]
    assert ask("pip install -r requirements.txt --user -- - *").refused == ()
    assert "r" in ask("pip install -r x").terms
    assert ask("-docker").terms == ["docker"]
    assert ask('-""').terms == []
    assert ask("well-known").refused == ()
    assert ask('"the of"').phrases == ()


def test_each_language_reads_a_question():
    """Bases may hold texts of several; a word is found as each of them has it."""
    question = ask('"die Häuser"', "english", "german")
    assert question.phrases == (((("die", 0), ("hauser", 1)), (("haus", 1),)),)
    assert {"die", "haus"} <= set(question.terms)


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet=st.sampled_from("ab -\"*'\\:&|!()<>@.\0é日_\n"), max_size=60))
def test_nothing_is_an_error(text: str):
    """A question is words at worst."""
    question = ask(text, "english", "german")
    assert all(term for term in question.terms)


def test_large_questions_are_bounded():
    """64 KiB cost some milliseconds and have no more words than others."""
    for text in (
        "word%d " * 8_000 % tuple(range(8_000)),
        '"' * 65_536,
        '"a b" ' * 10_000,
        "-aa " * 16_000,
        "x*" * 30_000,
        "x_" * 30_000 + "y",
        "x." * 30_000 + "y",
        "(" * 65_536,
    ):
        began = time.perf_counter()
        question = ask(text)
        assert len(question.words) <= MOST_WORDS
        assert len(question.phrases) + len(question.refused) <= 16
        assert time.perf_counter() - began < 2
