"""Answers without a model: the few sentences that together say most of what is asked, word for word, each with its source.

A window is up to three sentences in a row; the best is the one that says most in few words, of the best hits first, words weighed
by idf; another is added where it says much that the first does not (as by maximal marginal relevance, Carbonell and Goldstein
1998). Together, with the headings above them, they must have most of the question's weight, else nobody knows. No I/O.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from handlers.knowledge.answering.fields import field_answer
from handlers.knowledge.answering.units import Unit, units_of
from handlers.knowledge.retrieval.search import AskedWord, Found, Hit
from handlers.knowledge.retrieval.stopping import stops_of

UNKNOWN = "The knowledge bases say nothing that answers this."
# Of the best hits; what stands further down seldom answers.
MOST_HITS = 8
MOST_WINDOWS = 2
_LONGEST_WINDOW = 3
# What must be said of the question's weight, by the sentences and the headings above them.
LEAST_SUPPORT = 0.6
# A further window says so much of it that the first does not, at least.
LEAST_GAIN = 0.25
LEAST_OWN = 0.5
MOST_UNKNOWN = 0.5
# In which questions are asked of what has no language.
_MOST_ASKED = "english"
# Names and numbers: with a capital letter behind the first, or a digit.
_NAME = re.compile(r"\w[A-Z]|\d")
_OF_HEADING = 0.5
_RANK_DECAY = 0.2
# Words that an answer may have before it is too long, and that make it half as good.
_BRIEF, _HALVED = 30, 90
_FEWEST = 3
# Behind a question its answer, and the block that the answer leads to.
_MOST_LED_TO = 2
_NO_STATEMENT = 0.4


@dataclass(frozen=True, slots=True)
class Quote:
    """A part of a hit, word for word."""

    hit: Hit
    text: str


@dataclass(frozen=True, slots=True)
class Extract:
    """Quotes in the order in which they are read; none: nothing supports an answer. `said` stands in place of all of them."""

    quotes: list[Quote] = field(default_factory=list[Quote])
    said: str | None = None

    @property
    def is_supported(self) -> bool:
        """Whether there is an answer."""
        return bool(self.quotes)


@dataclass(frozen=True, slots=True)
class _Window:
    units: Sequence[Unit]

    @property
    def hit(self) -> int:
        return self.units[0].hit

    @property
    def has(self) -> frozenset[int]:
        return frozenset[int]().union(*(unit.has for unit in self.units))

    @property
    def said(self) -> frozenset[int]:
        return self.has | self.units[0].above


def extract(found: Found) -> Extract:
    """Return what of the hits answers the question."""
    hits = found.hits[:MOST_HITS]
    # Records have no language, so nothing of a question to them is a stop word.
    stops = stops_of(_MOST_ASKED).union(*(stops_of(each) for each in {hit.language for hit in hits}))
    words = tuple(word for word in found.words if word.word.casefold() not in stops)
    if not hits or not words:
        return Extract()
    found = replace(found, words=words)
    answered = field_answer(found)
    if answered is not None:
        return Extract([Quote(hit, line) for hit, line in answered.lines], answered.said)
    if _is_strange(words):
        return Extract()
    units = units_of(hits, words)
    chosen = _chosen(list(_windows(units)), words)
    said = frozenset[int]().union(*(each.said for each in chosen))
    if _weight(said, words) < LEAST_SUPPORT * _all(words):
        return Extract()
    places = {place for each in chosen for place in _with_blocks(units, each)}
    return Extract([Quote(hits[units[place].hit], units[place].text) for place in sorted(places)])


def _is_strange(words: Sequence[AskedWord]) -> bool:
    """Tell whether the question is about what no text knows: what is said of the rest is no answer."""
    unknown = [word for word in words if not word.known]
    named = any(_NAME.search(word.word) for word in unknown)
    return named or sum(word.weight for word in unknown) > MOST_UNKNOWN * _all(words)


def _windows(units: Sequence[Unit]) -> Iterator[_Window]:
    for first, unit in enumerate(units):
        for size in range(1, _LONGEST_WINDOW + 1):
            some = units[first : first + size]
            if len(some) == size and some[-1].hit == unit.hit:
                yield _Window(some)


def _chosen(windows: Sequence[_Window], words: Sequence[AskedWord]) -> list[_Window]:
    said: frozenset[int] = frozenset()
    whole = _all(words)
    chosen: list[_Window] = []
    while windows and len(chosen) < MOST_WINDOWS:
        best = max(windows, key=lambda window: _worth(window, said, words))
        gain = _weight(best.has - said, words)
        if not gain or (chosen and (gain < LEAST_GAIN * whole or _weight(best.said, words) < LEAST_OWN * whole)):
            break
        chosen.append(best)
        said |= best.said
        taken = {unit.place for unit in best.units}
        windows = [each for each in windows if taken.isdisjoint(unit.place for unit in each.units)]
    return chosen


def _worth(window: _Window, said: frozenset[int], words: Sequence[AskedWord]) -> float:
    own = _weight(window.has - said, words)
    above = _weight(window.said - window.has - said, words) * _OF_HEADING
    size = sum(unit.size for unit in window.units)
    brevity = 1 / (1 + max(0, size - _BRIEF) / _HALVED)
    if size < _FEWEST and not window.units[0].is_block:
        brevity = 0.6
    # A question answers none, and code does not say what it is for: the sentence that leads to it does.
    if window.units[0].is_block or window.units[0].text.endswith("?"):
        brevity *= _NO_STATEMENT
    return (own + above) * brevity / (1 + _RANK_DECAY * window.hit)


def _with_blocks(units: Sequence[Unit], window: _Window) -> Iterator[int]:
    """Return the places of a window, of what it leads to (what a question asks, a block), and of the sentence before its block."""
    first, last = window.units[0], window.units[-1]
    yield from (unit.place for unit in window.units)
    for follower in units[last.place + 1 : last.place + 1 + _MOST_LED_TO]:
        if follower.hit != last.hit or not (follower.is_block or last.text.endswith((":", "?"))):
            break
        yield follower.place
        last = follower
    if first.is_block and first.place and units[first.place - 1].hit == first.hit:
        yield first.place - 1


def _all(words: Sequence[AskedWord]) -> float:
    return sum(word.weight for word in words)


def _weight(numbers: frozenset[int], words: Sequence[AskedWord]) -> float:
    return sum(words[number].weight for number in numbers)
