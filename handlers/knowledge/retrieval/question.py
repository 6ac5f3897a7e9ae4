"""What a question asks for: words, phrases, beginnings, and what must not be there. No I/O.

    install "getting started" hub* -docker

Whatever is no syntax is words: a lone quote, a hyphen within a command (`pip install -r`), a star by itself. Nothing is an error.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from handlers.knowledge.retrieval.analysis import Analyser, analyser_of

# What takes longest is to look words up, so a question of 64 KiB has no more of them than this.
MOST_WORDS = 256
_MOST_PHRASES = 8
_SHORTEST_BEGINNING = 3
_MOST_PLACES = 32  # of a phrase; its later words do not matter

_PHRASE = re.compile(r'(?<!\S)(-?)"([^"]*)"(?!\w)')
_NEGATED = re.compile(r"(?<!\S)-(?=[^\W\d_]{2})(\S+)")
_BEGINNING = re.compile(r"(?<!\S)(\w{3,}(?:[.\-]\w+)*)\*(?!\S)")

Places = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Question:
    """Terms as the index has them, without their scope.

    `words` are the terms of each word: any counts. Each of `phrases` and none of `refused` must stand in what is found: each is
    what one phrase is in several languages, as terms with their places. Words with one of `beginnings` count too.
    """

    words: tuple[tuple[str, tuple[str, ...]], ...]
    phrases: tuple[tuple[Places, ...], ...] = ()
    refused: tuple[tuple[Places, ...], ...] = ()
    beginnings: tuple[str, ...] = ()

    @property
    def terms(self) -> list[str]:
        """All terms that count, once each."""
        return list(dict.fromkeys(term for _, terms in self.words for term in terms))


def asked(text: str, languages: Iterable[str]) -> Question:
    """Return what a question asks for in texts of these languages."""
    analysers = [analyser_of(each) for each in dict.fromkeys(languages)]
    refused: list[tuple[Places, ...]] = []
    phrases: list[tuple[Places, ...]] = []

    def phrase(found: re.Match[str]) -> str:
        rows = _rows(analysers, found[2])
        if rows and len(phrases) + len(refused) < _MOST_PHRASES:
            (refused if found[1] else phrases).append(rows)
        return " " if found[1] else f" {found[2]} "

    def negated(found: re.Match[str]) -> str:
        rows = _rows(analysers, found[1])
        if rows and len(refused) < _MOST_PHRASES:
            refused.append(rows)
        return " "

    rest = _NEGATED.sub(negated, _PHRASE.sub(phrase, text))
    words = _words(analysers, _BEGINNING.sub(" ", rest))
    beginnings = _beginnings(analysers, rest)
    if refused and not (words or phrases or beginnings):
        # What is only refused is nothing to look for: so these are words.
        return Question(_words(analysers, text))
    return Question(words, tuple(phrases), tuple(refused), beginnings)


def _words(analysers: list[Analyser], text: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    found: dict[str, dict[str, None]] = {}
    for analyser in analysers:
        for token, word in analyser.words(text):
            if token not in found and len(found) >= MOST_WORDS:
                break
            if word.lexemes:
                found.setdefault(token, {}).update((lexeme, None) for lexeme, _ in word.lexemes)
    return tuple((token, tuple(terms)) for token, terms in found.items())


def _rows(analysers: list[Analyser], text: str) -> tuple[Places, ...]:
    """Return a phrase's terms with their places, as each language has them; a language in which it says nothing has none."""
    rows = (_row(analyser, text) for analyser in analysers)
    return tuple(dict.fromkeys(row for row in rows if row))


def _row(analyser: Analyser, text: str) -> Places:
    places: dict[int, str] = {}
    place = 0
    for _, word in analyser.words(text):
        for lexeme, offset in word.lexemes:
            # Of what stands in one place the parts come first.
            places.setdefault(place + offset, lexeme)
        place += word.places
    return tuple((lexeme, at) for at, lexeme in sorted(places.items())[:_MOST_PLACES])


def _beginnings(analysers: list[Analyser], text: str) -> tuple[str, ...]:
    found = (analysers[0].beginning(each[1]) for each in _BEGINNING.finditer(text)) if analysers else ()
    return tuple(dict.fromkeys(each for each in found if len(each) >= _SHORTEST_BEGINNING))[:_MOST_PHRASES]
