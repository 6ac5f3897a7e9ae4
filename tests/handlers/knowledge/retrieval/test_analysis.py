"""Text to terms: what is one word in a document is the same in a question."""

import pytest

from handlers.knowledge.retrieval.analysis import MOST_CHARACTERS, MOST_POSITIONS, analysed, analyser_of

IDENTIFIERS = {
    "os.path.join": {"os", "path", "join", "os.path.join"},
    "snake_case": {"snake", "case", "snakecase"},
    "camelCase": {"camel", "case", "camelcase"},
    "HTTPServer": {"http", "server", "httpserver"},
    "X-Event-Id": {"x", "event", "id", "xeventid"},
    "e-mail": {"e", "mail", "email"},
    "v3.11.2": {"3.11.2", "3.11"},
    "C++": {"c", "c++"},
    "C#": {"c", "c#"},
    "__init__": {"init"},
    "O'Brien": {"o", "brien", "obrien"},
    "ada@example.com": {"ada", "exampl", "com", "ada@example.com", "example.com"},
    "sha256": {"sha256"},
    "re.compile": {"re", "compil", "re.compile"},
}


def terms(text: str, language: str = "english") -> set[str]:
    return set(analysed(text, (), language).positions)


@pytest.mark.parametrize("identifier", IDENTIFIERS)
def test_identifier_is_found_as_a_whole_and_by_its_parts(identifier: str):
    """Whoever asks writes it either way."""
    assert terms(identifier) == IDENTIFIERS[identifier]


@pytest.mark.parametrize(
    ("one", "other", "language"),
    [
        ("setTimeout", "set_timeout", "english"),
        ("set-timeout", "SetTimeout", "english"),
        ("installing", "Installed", "english"),
        ("ﬁle", "FILE", "english"),  # a ligature, NFKC
        ("ｆｉｌｅ", "file", "english"),  # noqa: RUF001 - full width
        ("Müller", "muller", "simple"),
        ("Straße", "STRASSE", "german"),
        ("Häuser", "Haus", "german"),
        ("canciones", "canción", "spanish"),
        ("Приложения", "приложение", "russian"),
    ],
)
def test_two_ways_of_one_word_share_a_term(one: str, other: str, language: str):
    """Case, width, accents, hyphens and endings do not matter."""
    assert terms(one, language) & terms(other, language)


def test_accents_may_be_left_out():
    """A stemmer needs them, who asks has a keyboard without: the document has both."""
    assert terms("générale", "french") >= terms("generale", "french")


def test_stop_words_keep_their_places():
    """They are in no index, but a phrase has the right distances."""
    found = analysed("the state of the art", (), "english")
    assert found.positions == {"state": [4], "art": [7]}
    assert found.length == 2


def test_contraction_leaves_nothing_and_a_module_of_the_same_name_stays():
    """ "'re" says nothing, Python's re does."""
    assert terms("you're don't it's") == set()
    assert terms("the re module") == {"re", "modul"}


def test_headings_come_first():
    """Twice: they say more than what stands below."""
    found = analysed("text here", ("Big", "Title"), "simple")
    assert found.positions == {"big": [1, 4], "titl": [2, 5], "text": [7], "here": [8]}
    assert found.length == 6


def test_scripts_without_spaces_are_cut_into_pairs():
    """Nobody needs a dictionary for them."""
    assert {"東京", "京都"} <= terms("東京都に住む")
    assert terms("日") == {"日"}
    assert terms("ภาษา") == {"ภา", "าษ", "ษา"}


def test_marks_belong_to_their_letters():
    """Devanagari's vowels are marks, and not the end of a word."""
    assert list(analysed("हिन्दी में", (), "simple").positions) == ["हिन्दी", "में"]


def test_terms_are_bounded():
    """What is very long is cut, here as in a question; a place behind PostgreSQL's last is not counted."""
    assert terms("a" * 5000) == {"a" * MOST_CHARACTERS}
    many = analysed("word " * (MOST_POSITIONS + 100), (), "english")
    assert many.positions["word"][-1] <= MOST_POSITIONS
    assert max(map(len, terms(".".join(["part"] * 5000)))) <= MOST_CHARACTERS
    assert terms("\0 \x01 -- '' \\ ... @@ ##") == set()


def test_a_beginning_is_that_of_the_whole():
    """`set_time*` is the beginning of set_timeout, which is indexed without its underscore."""
    (whole,) = (each for each in terms("set_timeout") if each == "settimeout")
    assert whole.startswith(analyser_of("english").beginning("set_time"))
