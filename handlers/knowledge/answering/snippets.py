"""The part of a text that shows best why it was found. No I/O."""

import re
from bisect import bisect_left
from collections.abc import Sequence

from handlers.knowledge.answering.models import Snippet

LENGTH = 240
_MARK = "…"
_MOST_HIGHLIGHTS = 64


def snippet_of(text: str, matched: Sequence[str]) -> Snippet:
    """Return about LENGTH characters of `text` with most of the matched words, cut at spaces, and where these stand in it.

    Offsets are code points; what is left out is marked by an ellipsis.
    """
    spans = _spans(text, matched)
    begin, end = _window(text, spans)
    before = _MARK if begin else ""
    after = _MARK if end < len(text) else ""
    shift = len(before) - begin
    inside = [[at + shift, to + shift] for at, to in spans if begin <= at and to <= end]
    return Snippet(text=f"{before}{text[begin:end]}{after}", highlights=inside[:_MOST_HIGHLIGHTS])


def _spans(text: str, matched: Sequence[str]) -> list[tuple[int, int]]:
    if not matched:
        return []
    longest_first = sorted({re.escape(word) for word in matched}, key=len, reverse=True)
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(longest_first)})(?!\w)")
    return [found.span() for found in pattern.finditer(text)]


def _window(text: str, spans: Sequence[tuple[int, int]]) -> tuple[int, int]:
    if len(text) <= LENGTH:
        return 0, len(text)
    begin = _best_begin(text, spans)
    end = min(len(text), begin + LENGTH)
    if begin:
        space = text.find(" ", max(0, begin - 20), begin + 20)
        begin = space + 1 if space >= 0 else begin
    if end < len(text):
        space = text.rfind(" ", end - 30, end)
        end = space if space > begin else end
    return begin, end


def _best_begin(text: str, spans: Sequence[tuple[int, int]]) -> int:
    """Return where the window begins that has most different words, and of those the first."""
    if not spans:
        return 0
    starts = [at for at, _ in spans]
    best, most = 0, -1
    for number, (at, _) in enumerate(spans):
        inside = spans[number : bisect_left(starts, at + LENGTH - 40)]
        count = len({text[a:b].casefold() for a, b in inside})
        if count > most:
            best, most = at, count
    return max(0, min(best - 30, len(text) - LENGTH))
