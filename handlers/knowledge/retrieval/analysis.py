"""Text to terms, the same for documents and for questions. No I/O.

    Installing aimatrix_hub 3.11.2    install:1 aimatrixhub:2 aimatrix:2 hub:3 3.11.2:4 3.11:4

Unicode NFKC (UAX 15), casefold, stems by Snowball; accents are folded. An identifier is found as a whole and by its parts
(`os.path.join`, `snake_case`, `camelCase`, `X-Event-Id`, addresses): where hyphen, underscore or case join it, it is
written without them, so that `set_timeout` and `setTimeout` are one. Scripts without spaces are cut into pairs of characters.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

import Stemmer

from handlers.knowledge.parsing.parsed import Terms
from handlers.knowledge.retrieval.stopping import APOSTROPHES, CONTRACTED, stops_of

MOST_CHARACTERS = 64  # of a lexeme; what is longer is cut, here and in questions alike
# What stands in headings says more than what stands below: it counts as if it stood there so often.
HEADING_TIMES = 2
MOST_POSITIONS = 16_383  # PostgreSQL's tsvector knows no place behind it
_MOST_PARTS = 16
_MOST_CACHED = 100_000
_LONGEST_STEMMED = 40

# Marks belong to the letters before them (Devanagari's vowels, Hebrew's points), but are no \w.
_MARKS = "".join(chr(each) for each in range(0x300, 0xFE30) if unicodedata.category(chr(each)) in ("Mn", "Mc"))
_INNER = rf"[.@{APOSTROPHES}\-]"
_ASCII = re.compile(r"[A-Za-z0-9_]+(?:[.@'\-][A-Za-z0-9_]+)*(?:\+\+|#)?")
_UNICODE = re.compile(rf"\w[\w{_MARKS}]*(?:{_INNER}\w[\w{_MARKS}]*)*(?:\+\+|#)?")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
# Han, kana, Hangul; Thai, Lao, Myanmar, Khmer.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_RUN = re.compile(f"[{_UNSPACED}\U00020000-\U0003ffff]+|[^{_UNSPACED}\U00020000-\U0003ffff]+")
_IS_UNSPACED = re.compile(f"[{_UNSPACED}\U00020000-\U0003ffff]")
_HUMP = re.compile(r"(?<=[a-zß-öø-ÿ0-9])(?=[A-ZÀ-ÖØ-Þ])|(?<=[A-Z])(?=[A-Z][a-z])")
_NUMBER = re.compile(r"[vV]?\d+(?:\.\d+)+")
_ACCENTS = re.compile("[\u0300-\u036f]+")


class Word(NamedTuple):
    """What stands between two spaces: its lexemes, each with its place from the word's first, and how many places it takes."""

    lexemes: tuple[tuple[str, int], ...]
    places: int
    stops: bool  # nothing in it is more than a stop word


class Analyser:
    """The words of one language; remembers what it has seen. For one thread at a time."""

    def __init__(self, language: str) -> None:
        self._stem = Stemmer.Stemmer(language if language in _STEMMED else "english", 0).stemWord
        self._stops = stops_of(language)
        self._seen: dict[str, Word] = {}

    def words(self, text: str) -> Iterator[tuple[str, Word]]:
        """Yield each word of a text, as it stands there after normalisation, with its lexemes."""
        seen = self._seen
        for each in tokens(text):
            word = seen.get(each)
            if word is None:
                if len(seen) >= _MOST_CACHED:
                    seen.clear()
                word = seen[each] = self._word(each)
            yield each, word

    def beginning(self, text: str) -> str:
        """Return what every lexeme of words that begin with `text` begins with; empty where that says nothing."""
        (*_, last) = tokens(text) or [""]
        return _folded("".join(_PART.split(last)).casefold())[:MOST_CHARACTERS]

    def _word(self, token: str) -> Word:
        lexemes: dict[tuple[str, int], None] = {}
        place = 0
        stops = True
        ends = CONTRACTED if _APOSTROPHE.search(token) else ()
        for part in _parts(token):
            for piece in _pairs(part):
                stop = piece in self._stops or piece in ends
                stops = stops and stop
                if not stop:
                    lexemes.update(((each, place), None) for each in self._stems(piece))
                place += 1
        for whole in _wholes(token, self._stops):
            lexemes[whole[:MOST_CHARACTERS], 0] = None
            stops = False
        return Word(tuple(lexemes), max(place, 1), stops)

    def _stems(self, word: str) -> Iterable[str]:
        if len(word) > _LONGEST_STEMMED:
            return (_folded(word)[:MOST_CHARACTERS],)
        stem = _folded(self._stem(word))
        if word.isascii():
            return (stem,)
        # Who asks may leave accents out, which stemmers need: so a word stands under what it is either way.
        return dict.fromkeys((stem, self._stem(_folded(word))))


def analysed(text: str, headings: Iterable[str], language: str) -> Terms:
    """Return what a chunk is found by. `language` is a stemmer's name.

    Of any other, "simple" too, no word is a stop word, and stems are those of English, which changes few words of others.
    """
    analyser = analyser_of(language)
    positions: dict[str, list[int]] = {}
    place = length = 0
    for source in (*[" ".join(headings)] * HEADING_TIMES, text):
        for _, word in analyser.words(source):
            if place + word.places >= MOST_POSITIONS:
                break
            for lexeme, offset in word.lexemes:
                held = positions.get(lexeme)
                if held is None:
                    positions[lexeme] = [place + 1 + offset]
                else:
                    held.append(place + 1 + offset)
            length += len(word.lexemes)
            place += word.places
        place += 1  # so that no phrase reaches from one to the next
    return Terms(positions, length)


@lru_cache(maxsize=64)
def analyser_of(language: str) -> Analyser:
    """Return this process's analyser of a language."""
    return Analyser(language)


def tokens(text: str) -> list[str]:
    """Return the words of a text as they stand in it; what is joined by an inner dot, hyphen, apostrophe or @ is one."""
    if text.isascii():
        return _ASCII.findall(text)
    return _UNICODE.findall(_INVISIBLE.sub("", unicodedata.normalize("NFKC", text)))


_STEMMED = frozenset(Stemmer.algorithms())
_PART = re.compile(rf"[.@{APOSTROPHES}\-_#+]+")
_APOSTROPHE = re.compile(f"[{APOSTROPHES}]")


def _parts(token: str) -> Iterator[str]:
    """Yield the parts of a word, casefolded: a number is one, whatever is in it."""
    if _NUMBER.fullmatch(token):
        return
    parts = [each for each in _PART.split(token) if each]
    if len(token) <= MOST_CHARACTERS:
        parts = [piece for part in parts for piece in _HUMP.split(part)]
    for part in parts[:_MOST_PARTS]:
        yield part.casefold()


def _pairs(part: str) -> Iterator[str]:
    """Cut scripts without spaces into overlapping pairs; everything else stays as it is."""
    if part.isascii() or not _IS_UNSPACED.search(part):
        yield part
        return
    for run in _RUN.findall(part):
        if len(run) > 1 and _IS_UNSPACED.match(run):
            yield from (run[at : at + 2] for at in range(len(run) - 1))
        else:
            yield run


def _wholes(token: str, stops: frozenset[str]) -> Iterator[str]:
    """Yield what a word of several parts is as one; nothing for a word of one part."""
    folded = _folded(token.casefold())
    bare = folded.rstrip("+#")
    if len(bare) == 1 and len(folded) > 1:
        yield folded  # C++, C#
    elif _NUMBER.fullmatch(token):
        yield bare.lstrip("v")
        if bare.count(".") > 1:
            yield ".".join(bare.lstrip("v").split(".")[:2])
    elif "." in bare or "@" in bare:
        yield bare
        if "@" in bare:
            yield bare.rpartition("@")[2]
    else:
        yield from _joined([each for each in _PART.split(bare) if each], token, stops)


def _joined(parts: list[str], token: str, stops: frozenset[str]) -> Iterator[str]:
    # "don't" and "l'installation" are no names, "O'Brien" is one; and so is no `_private` or `__init__`, which has one part.
    if len(parts) < 2 and len(_HUMP.split(token)) < 2:
        return
    if not _APOSTROPHE.search(token) or not any(part in stops or part in CONTRACTED for part in parts):
        yield "".join(parts)


def _folded(word: str) -> str:
    if word.isascii():
        return word
    return unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFD", word)))
