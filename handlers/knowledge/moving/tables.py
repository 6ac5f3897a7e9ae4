"""Rows as CSV (RFC 4180) that a spreadsheet opens without running anything. No I/O."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

MEDIA_TYPE = "text/csv; charset=utf-8; header=present"
# OWASP, "CSV Injection": a cell that begins with one of these is a formula to a spreadsheet.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def cell_of(value: Any) -> str:
    """Return a value as a cell: texts that a spreadsheet would take for a formula behind an apostrophe, all else as JSON."""
    match value:
        case None:
            return ""
        case str():
            return f"'{value}" if value.startswith(_FORMULA) else value
        case _:
            return orjson.dumps(value).decode()


def line_of(cells: Iterable[Any]) -> bytes:
    """Return a line, with its end."""
    written = io.StringIO()
    csv.writer(written, lineterminator="\r\n").writerow([cell_of(each) for each in cells])
    return written.getvalue().encode(errors="replace")


def records(data: Any) -> Iterator[bytes]:
    """Give the lines of a base's records: a column for each field, in the order in which they first appear."""
    rows: Sequence[Any] = data if isinstance(data, list) else [data]
    columns = list(dict.fromkeys(name for row in rows if isinstance(row, Mapping) for name in row))
    bare = any(not isinstance(row, Mapping) for row in rows)
    yield line_of([*columns, *(["value"] if bare else ())])
    for row in rows:
        fields: Mapping[str, Any] = row if isinstance(row, Mapping) else {}
        alone = [None if isinstance(row, Mapping) else row] if bare else []
        yield line_of([*(fields.get(name) for name in columns), *alone])
