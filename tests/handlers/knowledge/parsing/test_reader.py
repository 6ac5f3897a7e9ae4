"""Which format a document has, and its language."""

import pytest

from handlers.knowledge.parsing.language import language_of
from handlers.knowledge.parsing.parse import parse
from handlers.knowledge.parsing.reader import format_of
from handlers.knowledge.retrieval.lexemes import literal
from tests.handlers.knowledge.parsing.reading import pdf


@pytest.mark.parametrize(
    ("content_type", "name", "expected"),
    [
        ("text/markdown; charset=utf-8", "a.txt", "markdown"),
        ("TEXT/HTML", "", "html"),
        ("text/plain", "docs/guide.md", "markdown"),
        ("application/octet-stream", "A.CSV", "csv"),
        ("", "notes", "unknown"),
        ("text/plain", "notes.txt", "text"),
        ("text/x-python", "a.py", "code"),
        ("application/vnd.api+json", "", "json"),
        ("", "folder.d/notes", "unknown"),
    ],
)
def test_type_goes_before_extension(content_type: str, name: str, expected: str):
    """A type that says no more than "a file" or "a text" leaves it to the name."""
    assert format_of(b"text", content_type, name) == expected


def test_first_bytes_decide_where_nothing_is_said():
    """PDF and DOCX by their marks, HTML by its first element, JSON by being it."""
    assert format_of(pdf("x"), "application/octet-stream", "download") == "pdf"
    assert parse(b"<!doctype html><title>T</title><p>text", "", "").title == "T"
    assert parse(b'[{"name": "Ada"}]', "", "").chunks[0].kind == "record"
    assert parse(b"[not json] but text", "", "").chunks[0].kind == "text"


def test_title_is_found_with_every_chunk():
    """It is the first of the headings, where the document does not begin with it anyway."""
    parsed = parse(b"---\ntitle: Handbook\n---\n## Install\n\nRun it.\n", "text/markdown", "a.md")
    assert [chunk.place.headings for chunk in parsed.chunks] == [("Handbook", "Install")]
    assert "handbook':1" in literal(parsed.chunks[0].terms)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("How to install the SDK", "english"),
        ("Die Katze sitzt auf dem Dach", "german"),
        ("Le chat est sur le toit", "french"),
        ("Il gatto è sul tetto e mangia", "italian"),
        ("東京都の天気", "simple"),
        ("Jane Doe, Acme Corp", "simple"),
        ("pip install hub", "simple"),
        ("", "simple"),
    ],
)
def test_language_is_one_with_a_stemmer_or_simple(text: str, expected: str):
    """Where it is unsure, words are taken as they are."""
    assert language_of([text]) == expected
