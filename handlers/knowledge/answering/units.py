"""What answers are made of: sentences, items of lists, blocks of code, rows of tables, fields of records. No I/O."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from handlers.knowledge.parsing.sentences import sentences_of
from handlers.knowledge.retrieval.analysis import analyser_of
from handlers.knowledge.retrieval.search import AskedWord, Hit

_ITEM = re.compile(r"\s*(?:[-*+•]|\d{1,3}[.)])\s+")
LONGEST = 600
_LONGEST_BLOCK = 1_500
# A chunk of several small sections has their headings in its text, each a paragraph: a line without a stop, a value or an address.
_HEADING = re.compile(r"[^\d\n.:;,!?|@]*[^\W\d]\)?")
_LONGEST_HEADING = 12


@dataclass(frozen=True, slots=True)
class Unit:
    """A verbatim part of a hit, and which words of the question (by number) it has, itself or in the headings above it."""

    hit: int
    place: int
    text: str
    has: frozenset[int]
    above: frozenset[int]
    is_block: bool = False

    @property
    def size(self) -> int:
        """How many words it has."""
        return len(self.text.split())


def units_of(hits: Sequence[Hit], words: Sequence[AskedWord]) -> list[Unit]:
    """Cut hits into units, in their order."""
    units: list[Unit] = []
    for number, hit in enumerate(hits):
        above = words_in(" \n ".join((hit.title or "", hit.name, *hit.place.headings)), hit.language, words)
        within: frozenset[int] = frozenset()
        parts = list(_parts(hit))
        for place, (text, is_block) in enumerate(parts):
            has = words_in(text, hit.language, words)
            if not is_block and place + 1 < len(parts) and _is_heading(hit, text):
                within = has
                continue
            units.append(Unit(number, len(units), text, has, above | within, is_block))
    return units


def _is_heading(hit: Hit, text: str) -> bool:
    """Tell whether a part only says what the parts below it are about, and so answers nothing."""
    if hit.kind != "text" or not _HEADING.fullmatch(text) or len(text.split()) > _LONGEST_HEADING:
        return False
    return f"\n\n{text}\n\n" in f"\n\n{hit.text}"


def words_in(text: str, language: str, words: Sequence[AskedWord]) -> frozenset[int]:
    """Return which words of the question stand in a text."""
    terms = {lexeme for _, word in analyser_of(language).words(text) for lexeme, _ in word.lexemes}
    return frozenset(number for number, word in enumerate(words) if not terms.isdisjoint(word.terms))


def _parts(hit: Hit) -> Iterator[tuple[str, bool]]:
    if hit.kind == "code":
        yield hit.text.strip("\n")[:_LONGEST_BLOCK], True
        return
    if hit.kind in ("table", "record"):
        yield from ((line.strip()[:LONGEST], False) for line in hit.text.split("\n") if line.strip())
        return
    for paragraph in re.split(r"\n\s*\n", hit.text):
        lines = paragraph.split("\n")
        if _looks_like_code(lines):
            yield paragraph.strip("\n")[:_LONGEST_BLOCK], True
            continue
        for sentence in _sentences(lines):
            yield sentence[:LONGEST], False


def _sentences(lines: Sequence[str]) -> Iterator[str]:
    """Items of a list are by themselves; the lines between are one text."""
    running: list[str] = []
    for line in lines:
        if _ITEM.match(line):
            yield from sentences_of(" ".join(running))
            running = []
            yield line.strip()
        elif line.strip():
            running.append(line.strip())
    yield from sentences_of(" ".join(running))


def _looks_like_code(lines: Sequence[str]) -> bool:
    """Tell whether a paragraph is a block of code: all its lines are set in, or few of its marks are those of prose."""
    filled = [line for line in lines if line.strip()]
    if not filled:
        return False
    if all(line.startswith(("    ", "\t")) for line in filled):
        return True
    return all(
        re.match(r"\s*(?:\$|>>>|#!|(?:pip|npm|curl|make|python3?|docker|git|cd|export|sudo)\s)", line)
        for line in filled
    )
