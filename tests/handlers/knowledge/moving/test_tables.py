"""Tables that a spreadsheet opens: what is read back is what was there, and nothing in them is a formula."""

import csv
import io
from typing import Any

import pytest

from handlers.knowledge.moving.tables import cell_of, line_of, records

FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1")


def read(text: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text.decode(), newline="")))


@pytest.mark.parametrize("formula", FORMULAS)
def test_formula_is_text(formula: str):
    """Also within quotes, which a spreadsheet takes off before it looks."""
    ((cell,),) = read(line_of([formula]))
    assert cell == f"'{formula}"


@pytest.mark.parametrize("value", ["plain", "a=1", "a,b", 'say "hi"', "two\nlines", "ä€", " =1", ""])
def test_text_is_itself(value: str):
    assert read(line_of([value, "next"])) == [[value, "next"]]


@pytest.mark.parametrize(
    ("value", "cell"), [(None, ""), (-5, "-5"), (1.5, "1.5"), (True, "true"), ({"a": [1]}, '{"a":[1]}')]
)
def test_other_values_are_json(value: Any, cell: str):
    """A number is no formula."""
    assert cell_of(value) == cell


def test_records_have_a_column_a_field():
    data = [{"name": "Ada", "email": "ada@example.com"}, {"name": "=cmd", "tags": ["a"]}, "alone"]
    assert read(b"".join(records(data))) == [
        ["name", "email", "tags", "value"],
        ["Ada", "ada@example.com", "", ""],
        ["'=cmd", "", '["a"]', ""],
        ["", "", "", "alone"],
    ]


def test_one_record_is_a_row():
    assert read(b"".join(records({"name": "Ada"}))) == [["name"], ["Ada"]]


def test_column_that_is_a_formula_is_text_too():
    assert read(b"".join(records({"=1": "a"})))[0] == ["'=1"]
