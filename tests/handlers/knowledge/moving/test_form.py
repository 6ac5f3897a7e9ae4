"""An export is read as what it is, whole, or refused with the line that is wrong."""

from typing import Any

import orjson
import pytest

from core.errors import HubError
from handlers.knowledge.moving.form import FORMAT, Reading, first_line, last_line

BASE = first_line('{"id":"x","name":"Docs","type":"documentation","sources":["docs/**/*.md"],"version":3}')
DOCUMENT = orjson.dumps({"document": {"name": "a.md", "content": "A", "hash": "00", "metadata": {"team": "docs"}}})


def read(*lines: bytes) -> list[Any]:
    reading = Reading()
    found = [reading.line(each) for each in lines]
    reading.end()
    return found


def test_what_was_exported_is_read():
    """What the hub itself knows of a base and of documents is not taken over."""
    base = ("knowledge", {"name": "Docs", "type": "documentation", "sources": ["docs/**/*.md"]})
    document = ("document", {"name": "a.md", "content": "A", "metadata": {"team": "docs"}})
    assert read(BASE, DOCUMENT, DOCUMENT, last_line(2)) == [base, document, document, None]
    assert read(BASE, last_line(0)) == [base, None]


@pytest.mark.parametrize(
    ("lines", "wrong"),
    [
        ([], "lines[0]"),
        ([b"{"], "lines[0]"),
        ([b"[]"], "lines[0]"),
        ([DOCUMENT], "lines[0]"),
        ([BASE.replace(FORMAT.encode(), b"another/1")], "lines[0]"),
        ([BASE], "lines[1]"),
        ([BASE, BASE], "lines[1]"),
        ([BASE, b'{"document": 1}'], "lines[1]"),
        ([BASE, DOCUMENT], "lines[2]"),
        ([BASE, DOCUMENT[:-5]], "lines[1]"),
        ([BASE, DOCUMENT, last_line(2)], "lines[2]"),
        ([BASE, DOCUMENT, b'{"end": 1}'], "lines[2]"),
        ([BASE, last_line(0), DOCUMENT], "lines[2]"),
    ],
)
def test_what_is_no_whole_export_is_refused(lines: list[bytes], wrong: str):
    with pytest.raises(HubError) as caught:
        read(*lines)
    assert caught.value.code == "VALIDATION_ERROR"
    assert [each.field for each in caught.value.details] == [wrong]
