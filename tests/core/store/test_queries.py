"""SQL files: strict, so that a mistake shows at import."""

import re
from pathlib import Path

import pytest

from core.store.queries import load_queries

ROOT = Path(__file__).parents[3]
SQL_FILES = [
    file
    for folder in ("core", "rooms", "handlers", "hub")
    for file in (ROOT / folder).rglob("*.sql")
    if "migrations" not in file.parts and file.name != "bootstrap.sql"
]


def _load(tmp_path: Path, text: str):
    file = tmp_path / "some.sql"
    file.write_text(text)
    return load_queries(file)


def test_blocks_are_found_by_name(tmp_path: Path):
    """Comments before the first block and within blocks are allowed."""
    found = _load(tmp_path, "-- all of it\n-- name: one\n-- why\nSELECT 1;\n\n-- name: two\nSELECT 2\n")
    assert dict(found) == {"one": "-- why\nSELECT 1", "two": "SELECT 2"}


@pytest.mark.parametrize(
    "text",
    ["SELECT 1", "-- name: one\n", "-- name: one\n-- only words\n", "-- name: one\nSELECT 1\n-- name: one\nSELECT 2\n"],
    ids=["no name", "empty", "comment only", "twice"],
)
def test_malformed_file_is_refused(tmp_path: Path, text: str):
    """A block has a name and a statement, and a name stands once."""
    with pytest.raises(ValueError, match=r"some\.sql"):
        _load(tmp_path, text)


@pytest.mark.parametrize("file", SQL_FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_statement_is_used_and_every_used_one_is_there(file: Path):
    """Names defined and names used beside the file are the same."""
    code = "\n".join(source.read_text() for source in file.parent.glob("*.py"))
    used = set(re.findall(r'(?:SQL|_sql)\["([a-z_0-9]+)"\]', code))
    others = [other for other in SQL_FILES if other.parent == file.parent and other != file]
    elsewhere = {name for other in others for name in load_queries(other)}
    defined = set(load_queries(file))
    assert defined <= used
    assert used <= defined | elsewhere
