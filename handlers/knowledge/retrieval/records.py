"""Records as text: what a contact, a row of CSV or an entry of JSON is found by, and shown as. No I/O."""

from collections.abc import Iterator
from typing import Any

import orjson

from handlers.knowledge.parsing.parsed import Place

MOST_CHARACTERS = 65_536
_MOST_DEPTH = 16
_PORTION = 2_000


def record_text(data: Any) -> str:
    """Return a line for each value: `address.city: Berlin`; what is empty has none. Ends at MOST_CHARACTERS, behind a whole line.

    Items of an array stand under its name, without their number. Deeper than sixteen levels, a value is its JSON.
    """
    lines: list[str] = []
    room = MOST_CHARACTERS
    # A stack, since JSON may be nested deeper than Python recurses.
    waiting: list[tuple[str, Any, int]] = [("", data, 0)]
    while waiting and room > 0:
        path, value, depth = waiting.pop()
        if isinstance(value, dict | list) and depth < _MOST_DEPTH:
            waiting.extend(_within(path, value, depth + 1))
            continue
        written = _written(value)
        if written:
            line = (f"{path}: {written}" if path else written).replace("\0", " ")
            room -= len(line) + 1
            lines.append(line)
    if room < 0 and len(lines) > 1:
        lines.pop()
    return "\n".join(lines)[:MOST_CHARACTERS]


def _within(path: str, value: dict[str, Any] | list[Any], depth: int) -> list[tuple[str, Any, int]]:
    """Return the values of a holder, last first, as a stack wants them."""
    if isinstance(value, dict):
        return [(f"{path}.{name}" if path else name, each, depth) for name, each in reversed(value.items())]
    return [(path, each, depth) for each in reversed(value)]


def _written(value: Any) -> str:
    if isinstance(value, str):
        # A line is one value.
        return " ".join(value.split())
    if value is None or value in ([], {}):
        return ""
    if isinstance(value, bool | dict | list):
        return _json(value)
    return str(value)


def _json(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # deeper than it writes
        return ""


def record_chunks(data: Any) -> list[tuple[str, Place]]:
    """Return the texts that a base's own record is found by: one an item of an array, and a long one in several.

    Together they have MOST_CHARACTERS at most.
    """
    items = enumerate(data, 1) if isinstance(data, list) else [(0, data)]
    chunks: list[tuple[str, Place]] = []
    room = MOST_CHARACTERS
    for number, item in items:
        place = Place(record=str(number) if number else None)
        for text in _portions(record_text(item)[:room]):
            chunks.append((text, place))
            room -= len(text)
        if room <= 0:
            break
    return chunks


def _portions(text: str) -> Iterator[str]:
    """Cut at ends of lines into portions of about _PORTION characters; a line that is longer is one by itself."""
    portion: list[str] = []
    size = 0
    for line in text.split("\n") if text else []:
        if portion and size + len(line) > _PORTION:
            yield "\n".join(portion)
            portion, size = [], 0
        portion.append(line)
        size += len(line) + 1
    if portion:
        yield "\n".join(portion)
