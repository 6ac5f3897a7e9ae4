"""docs/errors.md says what the catalogue says, and names for each code and status a test that produces it."""

import ast
import re
from pathlib import Path

from core.errors import CATALOGUE

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "errors.md"
ERRORS = re.compile(r"^\| `([A-Z_]+)` \| (\d+) \| (.*?) \| (.*?) \| `(\S+)::(\w+)` \|$", re.MULTILINE)
SUCCESSES = re.compile(r"^\| (\d+) \| .*? \| (?:`(\S+)::(\w+)`|-) \|$", re.MULTILINE)
# Of the specification that the hub is made by.
STATUSES = {200, 201, 202, 204, 400, 401, 403, 404, 409, 422, 429, 500, 502, 503, 504}


def source_of(file: str, test: str) -> str:
    """Return a test with its decorators; raises AssertionError where there is none."""
    text = (ROOT / file).read_text()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == test:
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            return "\n".join(text.splitlines()[first - 1 : node.end_lineno])
    raise AssertionError(f"{file} has no {test}")


def test_every_code_is_documented():
    """In the catalogue's words, and no other code."""
    rows = ERRORS.findall(PAGE.read_text())
    documented = {code: (int(status), meaning, cure) for code, status, meaning, cure, _, _ in rows}
    assert len(documented) == len(rows)
    assert documented == {kind.code: (kind.status, kind.message, kind.cure) for kind in CATALOGUE.values()}


def test_every_code_has_a_test_that_names_it():
    """A code that nothing produces is one that nobody has seen."""
    rows = ERRORS.findall(PAGE.read_text())
    assert [row[0] for row in rows if f'"{row[0]}"' not in source_of(row[4], row[5])] == []


def test_every_status_of_the_specification_has_a_row():
    """With a test of each but 202, until something takes long."""
    page = PAGE.read_text()
    successes = {int(status): (file, test) for status, file, test in SUCCESSES.findall(page)}
    assert {*successes, *(int(row[1]) for row in ERRORS.findall(page))} >= STATUSES
    assert {status for status, (file, _) in successes.items() if not file} <= {202}
    for status, (file, test) in successes.items():
        assert not file or str(status) in source_of(file, test), status
