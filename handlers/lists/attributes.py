"""Filters that look into documents, as predicates of PostgreSQL's jsonpath. Their text is made here, and sent as a parameter.

A path leads through objects, and through the elements of arrays; a predicate holds where it holds for any value that the path leads
to (jsonpath's lax mode). A text from a query means the string, and where it spells one the number, boolean or null.
"""

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from handlers.lists.fields import LONGEST_VALUE, storable

MOST_STEPS = 10
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,39})(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,3})?")
_WORDS = frozenset({"true", "false", "null"})
_SIGNS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


def path_of(name: str) -> str | None:
    """Return the jsonpath of a dotted name, None for one that leads nowhere or is too long."""
    steps = name.split(".")
    if len(steps) > MOST_STEPS or len(name) > LONGEST_VALUE or not all(steps) or not storable(name):
        return None
    return "$" + "".join(f".{_quoted(step)}" for step in steps)


def equals(path: str, values: Sequence[Any]) -> str:
    """Return the predicate that one of `values` is there; raises ValueError for one that is no scalar."""
    return " || ".join(f"{path} == {literal}" for value in values for literal in _literals(value))


def compares(path: str, operator: str, value: Any) -> str:
    """Return the predicate of gt, gte, lt or lte: numbers are compared with numbers, strings with strings, by code points."""
    _check_scalar(value)
    if value is None or isinstance(value, bool):
        raise ValueError("Must be a number or a text")
    number = value if isinstance(value, str) else json.dumps(value)
    literal = number if _is_number(number) else _quoted(value)
    return f"{path} {_SIGNS[operator]} {literal}"


def begins(path: str, value: Any) -> str:
    """Return the predicate of prefix."""
    return f"{path} starts with {_quoted(_text(value))}"


def holds(path: str, value: Any) -> str:
    """Return the predicate of contains."""
    return f'{path} like_regex {_quoted(_text(value))} flag "q"'


def exists(path: str) -> str:
    """Return the predicate that there is a value, null or not."""
    return f"exists({path})"


def _literals(value: Any) -> list[str]:
    _check_scalar(value)
    if not isinstance(value, str):
        return [json.dumps(value)]
    spelled = [value] if value in _WORDS or _is_number(value) else []
    return [_quoted(value), *spelled]


def _quoted(text: str) -> str:
    # A JSON string in ASCII is a jsonpath string, escapes and all.
    return json.dumps(text, ensure_ascii=True)


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None and math.isfinite(float(text))


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("Must be a text with at least one character")
    _check_scalar(value)
    return value


def _check_scalar(value: Any) -> None:
    match value:
        case str():
            if len(value) > LONGEST_VALUE:
                raise ValueError(f"Has at most {LONGEST_VALUE} characters")
            if not storable(value):
                raise ValueError("NUL characters and lone surrogates are not allowed")
        case None | bool():
            pass
        case int() | float():
            if not _is_number(json.dumps(value)):
                raise ValueError("The number is too large")
        case _:
            raise ValueError("Must be a text, a number, true, false or null")
