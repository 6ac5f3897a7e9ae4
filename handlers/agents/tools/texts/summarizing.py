"""A summary made of a text's own sentences: those that have most of what the text is about. No I/O.

A sentence is worth the weight of its words (how many sentences have each) by the root of its length, the first one more;
words that are told already count for little (as by SumBasic, Nenkova and Vanderwende 2005).
"""

from collections import Counter
from collections.abc import Sequence
from math import fsum, sqrt

from handlers.knowledge.parsing.language import language_of
from handlers.knowledge.parsing.sentences import sentences_of
from handlers.knowledge.retrieval.analysis import Analyser

# Sentences that are looked at, and characters of one that are told.
MOST_SENTENCES = 1_000
LONGEST_SENTENCE = 600
_FIRST = 1.25
_TOLD = 0.1
# A heading or a fragment is no sentence, where there are others.
_FEWEST_WORDS = 4


def summary_of(text: str, sentences: int) -> str:
    """Return at most so many sentences of a text, word for word and in its order."""
    found = _sentences(text)
    if len(found) <= sentences:
        return " ".join(found)
    analyser = Analyser(language_of([text]))
    words = [_words(analyser, each) for each in found]
    chosen = _chosen(words, sentences)
    return " ".join(found[place] for place in sorted(chosen))


def _sentences(text: str) -> list[str]:
    paragraphs = (" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
    every = [each[:LONGEST_SENTENCE] for paragraph in paragraphs for each in sentences_of(paragraph)]
    whole = [each for each in every if len(each.split()) >= _FEWEST_WORDS]
    return (whole or every)[:MOST_SENTENCES]


def _words(analyser: Analyser, sentence: str) -> frozenset[str]:
    return frozenset(lexeme for _, word in analyser.words(sentence) for lexeme, _ in word.lexemes[:1])


def _chosen(words: Sequence[frozenset[str]], most: int) -> list[int]:
    weights: dict[str, float] = dict(Counter(word for each in words for word in each))
    left = [place for place, each in enumerate(words) if each]
    chosen: list[int] = []
    while left and len(chosen) < most:
        best = max(left, key=lambda place: (_worth(words[place], weights, is_first=place == 0), -place))
        chosen.append(best)
        left.remove(best)
        weights.update((word, weights[word] * _TOLD) for word in words[best])
    return chosen


def _worth(words: frozenset[str], weights: dict[str, float], *, is_first: bool) -> float:
    worth = fsum(weights[word] for word in words) / sqrt(len(words) + _FEWEST_WORDS)
    return worth * _FIRST if is_first else worth
