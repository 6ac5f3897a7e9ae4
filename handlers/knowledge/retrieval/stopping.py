"""Words that say nothing by themselves, by language: they are not in the index, but keep their places for phrases."""

from functools import lru_cache

import stop_words

# The package's English list has over a thousand words, among them "changes", "computer" and "date": what people ask for. This one
# has only what holds sentences together, and what stands before the apostrophe of a contraction.
_ENGLISH = (
    "a about after again all also am an and any are aren as at be because been before being both but by "
    "can cannot could couldn did didn do does doesn doing don done each either else ever every few for "
    "from further get gets got had hadn has hasn have haven having he her here hers him his how i if in "
    "into is isn it its itself just let may me might mine more most much must my myself need no nor not "
    "of off on once only or other our ours out over own please same shall she should shouldn so some such "
    "than that the their theirs them themselves then there these they this those through to too under "
    "until up upon us very was wasn we were weren what when where whether which while who whom whose why "
    "will with within won would wouldn you your yours yourself"
)


APOSTROPHES = "'\u2019"
# Behind an apostrophe these say nothing; by themselves some do (Python's `re`).
CONTRACTED = frozenset(("d", "ll", "m", "re", "s", "t", "ve"))


@lru_cache(maxsize=64)
def stops_of(language: str) -> frozenset[str]:
    """Return the stop words of a language, casefolded; none where it is not known."""
    if language == "english":
        return frozenset(_ENGLISH.split())
    if language not in stop_words.AVAILABLE_LANGUAGES:
        return frozenset()
    return frozenset(word.casefold().strip(APOSTROPHES) for word in stop_words.get_stop_words(language))
