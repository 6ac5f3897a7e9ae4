"""CSV, JSON and NDJSON: a row or entry each is one record. No I/O."""

import csv
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from handlers.knowledge.parsing.blocks import Block, Readable
from handlers.knowledge.parsing.unparsable import Unparsable
from handlers.knowledge.retrieval.records import MOST_CHARACTERS, record_text

_DELIMITERS = ",;\t|"
# The delimiter is told by this many lines.
_SNIFFED_LINES = 20
LONGEST_CELL = 1 << 20
# What an entry is called by in a citation, if it has one of these.
_NAMES = ("id", "name", "title", "email")
_LONGEST_NAME = 100


def read_csv(text: str, delimiter: str | None = None) -> Readable:
    """Read a table whose first row names its columns; a row of numbers is none of names."""
    return Readable(None, _rows(text, delimiter or _delimiter_of(text)))


def read_json(text: str) -> Readable:
    """Read an array, or `{"records": [...]}`: an entry is a record each. Anything else is one record."""
    return Readable(None, _entries(_loaded(text)))


def read_ndjson(text: str) -> Readable:
    """Read a JSON value a line."""
    return Readable(None, _lines(text))


def _delimiter_of(text: str) -> str:
    sample = text[:65_536].splitlines()[:_SNIFFED_LINES]
    counts = {each: [len(row) for row in csv.reader(sample, delimiter=each)] for each in _DELIMITERS}
    # The one that gives most rows the same number of columns, above one; the more columns, the better.
    return max(_DELIMITERS, key=lambda each: _evenness(counts[each]))


def _evenness(columns: list[int]) -> tuple[int, int]:
    first = next((count for count in columns if count), 0)
    return (columns.count(first), first) if first > 1 else (0, 0)


def _rows(text: str, delimiter: str) -> Iterator[Block]:
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter)
    names: list[str] | None = None
    before = 0
    try:
        for row in reader:
            first, before = before + 1, reader.line_num
            if names is None and any(cell.strip() for cell in row):
                names = _names_of(row)
                if names[: len(row)] == [cell.strip() for cell in row]:
                    continue
            lines = _cells(row, names or [])
            if lines:
                yield Block("record", "\n".join(lines), first_line=first, last_line=before, record=f"row {first}")
    except csv.Error as error:
        raise Unparsable("UNREADABLE_DOCUMENT", f"The document is not CSV: line {reader.line_num}: {error}.") from None


def _names_of(row: list[str]) -> list[str]:
    names = [cell.strip() for cell in row]
    is_header = len(set(names)) == len(names) and not any(_is_number(name) for name in names)
    return names if is_header else [f"column {number}" for number in range(1, len(row) + 1)]


def _is_number(text: str) -> bool:
    return bool(text) and not text.strip("+-0123456789.,%€$ ")


def _cells(row: list[str], names: list[str]) -> list[str]:
    lines: list[str] = []
    for number, cell in enumerate(row):
        value = " ".join(cell.split())
        if value:
            name = names[number] if number < len(names) and names[number] else f"column {number + 1}"
            lines.append(f"{name}: {value}")
    return lines


def _loaded(text: str, line: int | None = None) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if "memory" in error.msg:  # orjson has no other way to say it
            raise MemoryError from None
        where = f"line {line}" if line is not None else f"line {error.lineno}, column {error.colno}"
        # Its own text names the place again.
        reason = str(error.msg).partition(": line ")[0]
        raise Unparsable("UNREADABLE_DOCUMENT", f"The document is not JSON: {where}: {reason}.") from None


def _entries(data: Any) -> Iterator[Block]:
    if isinstance(data, dict) and isinstance(data.get("records"), list) and len(data) == 1:
        data = data["records"]
    if not isinstance(data, list):
        yield from _record(data, None, None)
        return
    for number, entry in enumerate(data, 1):
        yield from _record(entry, _name_of(entry, number), None)


def _lines(text: str) -> Iterator[Block]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            entry = _loaded(line, number)
            yield from _record(entry, _name_of(entry, number), number)


def _name_of(entry: Any, number: int) -> str:
    if isinstance(entry, dict):
        for name in _NAMES:
            value = entry.get(name)
            if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
                return str(value).strip()[:_LONGEST_NAME]
    return f"entry {number}"


def _record(data: Any, name: str | None, line: int | None) -> Iterator[Block]:
    for text in _texts(data):
        if text:
            yield Block("record", text, first_line=line, last_line=line, record=name)


def _texts(data: Any) -> Iterator[str]:
    """Yield the text of a record; of one that is longer than a record's text may be, that of its parts."""
    text = record_text(data)
    if len(text) < MOST_CHARACTERS // 2 or not isinstance(data, dict | list) or len(data) < 2:
        yield text
        return
    parts: Iterable[Any] = ({name: value} for name, value in data.items()) if isinstance(data, dict) else data
    for part in parts:
        yield from _texts(part)
