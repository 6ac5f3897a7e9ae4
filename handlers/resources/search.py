"""Text search of lists: what is searched, and how a query becomes conditions.

Case does not matter (both sides are casefolded here, so PostgreSQL's collation has no say); every word of the query must stand
somewhere in the name, the type, or a string value of `data` and `metadata`. Trigrams find a word anywhere, also in the middle.
"""

from collections.abc import Iterator, Sequence
from typing import Any

MOST_WORDS = 10
MOST_INDEXED = 3
# %abc%: three characters are one trigram.
_SHORTEST_PATTERN = 5
_HOLDERS = frozenset((dict, list, tuple))


def searchable(name: str, type: str, *values: Any) -> str:
    """Return the text that `q=` searches: the name first, then the type, then every string within `values`."""
    # A line of it is one value; PostgreSQL's text holds no NUL. Replacing is five times as fast as str.translate.
    parts = (part.casefold().replace("\n", " ").replace("\0", " ") for part in (name, type, *_strings(values)))
    return "\n".join(parts)


def patterns(q: str) -> list[str]:
    """Return a LIKE pattern for each word of a query, at most MOST_WORDS."""
    return [f"%{_escaped(word)}%" for word in q.casefold().split()[:MOST_WORDS]]


def index_patterns(patterns: Sequence[str]) -> list[str]:
    """Return the patterns that the trigram index is to find rows by: the longest three, less what it knows nothing of."""
    known = sorted((each for each in patterns if len(each) >= _SHORTEST_PATTERN), key=len)
    return known[-MOST_INDEXED:]


def phrase(q: str) -> str:
    """Return the whole query as the start of a LIKE pattern: names that begin with it come first."""
    return _escaped(" ".join(q.casefold().split()))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _strings(value: Any) -> Iterator[str]:
    # A stack, since JSON may be nested deeper than Python recurses; of containers only, since a megabyte is half a million numbers.
    waiting = [value]
    while waiting:
        holder = waiting.pop()
        for each in holder.values() if isinstance(holder, dict) else holder:
            if type(each) is str:
                yield each
            elif type(each) in _HOLDERS:
                waiting.append(each)
