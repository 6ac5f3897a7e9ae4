"""What a word that no text has was meant to be. No I/O.

Only one or two letters may differ, and only in words that are long enough for that to say something; a number is never corrected.
"""

from collections.abc import Iterable

SHORTEST = 4
_TWO_WRONG_FROM = 8
_MOST_MEANT = 3


def may_be_typo(word: str) -> bool:
    """Tell whether a word that is not known may be one that is."""
    return len(word) >= SHORTEST and not any(letter.isdecimal() for letter in word)


def meant(word: str, near: Iterable[tuple[str, int]]) -> list[str]:
    """Return the lexemes that `word` is least wrong for, most frequent first; `near` are lexemes with how many chunks have them."""
    most = 2 if len(word) >= _TWO_WRONG_FROM else 1
    found: list[tuple[int, int, str]] = []
    for lexeme, chunks in near:
        wrong = distance(word, lexeme, most)
        if 0 < wrong <= most and may_be_typo(lexeme):
            found.append((wrong, -chunks, lexeme))
    found.sort()
    return [lexeme for wrong, _, lexeme in found if wrong == found[0][0]][:_MOST_MEANT]


def distance(one: str, other: str, most: int) -> int:
    """Return how many letters are wrong, missing, too many, or swapped (optimal string alignment); any number above `most`."""
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    row = list(range(len(other) + 1))
    for at, letter in enumerate(one, 1):
        last, row = row, [at]
        for place, same in enumerate(other, 1):
            cost = min(last[place] + 1, row[place - 1] + 1, last[place - 1] + (letter != same))
            if at > 1 and place > 1 and letter == other[place - 2] and one[at - 2] == same:
                cost = min(cost, before[place - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
        before = last
    return row[-1]
