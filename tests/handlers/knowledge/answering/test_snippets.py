"""Snippets: short, with the question's words in them, and offsets that are right in characters."""

import random

from handlers.knowledge.answering.snippets import LENGTH, snippet_of


def test_short_text_is_its_own_snippet():
    found = snippet_of("Install the SDK now.", ["SDK", "Install"])
    assert found.text == "Install the SDK now."
    assert [found.text[at:to] for at, to in found.highlights] == ["Install", "SDK"]


def test_window_has_the_words_wherever_they_stand():
    """In the middle of a long text, cut at spaces, what is left out marked."""
    text = "filler words here " * 50 + "the \U0001d7d9 ticket opens one stream " + "and more of it " * 50
    found = snippet_of(text, ["ticket", "stream"])
    assert found.text.startswith("…")
    assert found.text.endswith("…")
    assert [found.text[at:to] for at, to in found.highlights] == ["ticket", "stream"]


def test_offsets_are_right_whatever_the_text_is():
    """1,000 random texts (seed printed): each highlight is a matched word, and the snippet is short."""
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    words = ["ein", "Straße", "naïve", "日本", "a.b", "C++", "(", "x" * 300, "\U0001d7d9", "end."]
    for _ in range(1000):
        text = " ".join(rng.choice(words) for _ in range(rng.randrange(1, 200)))
        matched = rng.sample(words, rng.randrange(4))
        found = snippet_of(text, matched)
        assert len(found.text) <= LENGTH + 60
        assert all(found.text[at:to] in matched for at, to in found.highlights), (text, matched, found)
