"""Which of several labels fits a text, by the words that both have. No I/O."""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import fsum, log

from handlers.knowledge.parsing.language import language_of
from handlers.knowledge.retrieval.analysis import Analyser


def scores_of(text: str, labels: Sequence[str]) -> Mapping[str, float]:
    """Return how well each label fits a text, from 0 to 1, together 1; nothing where no label has a word of the text.

    A label may tell which words speak for it: "billing: invoice, refund, charge". A word that several labels have counts for less.
    """
    analyser = Analyser(language_of([text]))
    counts = Counter(lexeme for _, word in analyser.words(text) for lexeme, _ in word.lexemes)
    own = {name_of(label): {each for _, word in analyser.words(label) for each, _ in word.lexemes} for label in labels}
    having = Counter(word for words in own.values() for word in words)
    worth = {name: fsum(_worth(counts[word], having[word]) for word in words) for name, words in own.items()}
    total = fsum(worth.values())
    return {name: round(each / total, 4) for name, each in worth.items()} if total else {}


def best_of(scores: Mapping[str, float]) -> str | None:
    """Return the label that fits best, the first of several; None where none does."""
    return max(scores, key=lambda name: scores[name]) if scores else None


def name_of(label: str) -> str:
    """Return a label without the words that speak for it."""
    return label.partition(":")[0].strip() or label.strip()


def _worth(times: int, labels: int) -> float:
    return log(1 + times) / labels
