"""The catalogue of errors: every code that the hub can say is in it, and every code in it is said somewhere."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import CATALOGUE, Detail, HubError

ROOT = Path(__file__).parents[2]
FOLDERS = ("core", "rooms", "handlers", "rest", "hub")
PROMISED = {
    "INVALID_API_KEY",
    "EXPIRED_TOKEN",
    "INSUFFICIENT_SCOPE",
    "MISSING_REQUIRED_FIELD",
    "INVALID_FORMAT",
    "VALUE_OUT_OF_RANGE",
    "VALIDATION_ERROR",
    "RESOURCE_NOT_FOUND",
    "RESOURCE_CONFLICT",
    "RESOURCE_LOCKED",
    "INTERNAL_ERROR",
    "SERVICE_UNAVAILABLE",
    "TIMEOUT",
}


def texts_in(node: ast.expr) -> Iterator[str]:
    """Return the texts that an expression may be: itself, or both sides of a choice."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from (*texts_in(node.body), *texts_in(node.orelse))
    elif isinstance(node, ast.Call):  # a look-up with a default
        yield from (text for each in node.args for text in texts_in(each))


def said() -> dict[str, str]:
    """Return every code that the source gives to an error or a detail, with a place of it."""
    found: dict[str, str] = {}
    for path in (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            at = {"HubError": 0, "Detail": 1}.get(node.func.id)
            if at is not None and len(node.args) > at:
                found |= {text: f"{path.relative_to(ROOT)}:{node.lineno}" for text in texts_in(node.args[at])}
    return found


def test_every_code_of_the_source_is_in_the_catalogue() -> None:
    """No error leaves the hub that a caller cannot look up."""
    assert {code: place for code, place in said().items() if code not in CATALOGUE} == {}


def test_every_code_of_the_catalogue_is_said_somewhere() -> None:
    """A code that nothing says is a promise that nobody keeps; where it is made in another way, its name stands there."""
    written = "\n".join(
        path.read_text()
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        if path != ROOT / "core" / "errors.py"
    )
    silent = {code for code in CATALOGUE if f'"{code}"' not in written}
    assert silent == set()


def test_promised_codes_are_there() -> None:
    """All that the API's description names."""
    assert CATALOGUE.keys() >= PROMISED


def test_a_code_out_of_the_catalogue_cannot_be_raised() -> None:
    """Whoever makes one up finds out at once, at run time too."""
    with pytest.raises(LookupError):
        HubError("TEAPOT")
    with pytest.raises(LookupError):
        Detail("name", "TEAPOT", "short and stout")


def test_every_entry_says_what_it_means_and_what_to_do() -> None:
    """A code is upper snake case, a status is an error's, and texts are whole."""
    for code, kind in CATALOGUE.items():
        assert code == kind.code
        assert re.fullmatch(r"[A-Z]+(_[A-Z]+)*", code)
        assert 400 <= kind.status < 600
        assert len(kind.message) > 10
        assert len(kind.cure) > 10


def test_unavailable_and_limited_always_say_when_to_come_back() -> None:
    """429 and 503 have Retry-After, also where who raised it gave none."""
    for code, kind in CATALOGUE.items():
        if kind.status in (429, 503) and kind.place == "answer":
            assert HubError(code).retry_after == 1
            assert HubError(code, retry_after=9).retry_after == 9
