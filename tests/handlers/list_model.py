"""Lists as a few lines of Python say they are: what filters hold for, and in which order."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cmp_to_key
from typing import Any

Item = Mapping[str, Any]
_COLUMNS = ("id", "name", "type", "status", "created_at", "updated_at")
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")
_COMPARES: Mapping[str, Callable[[Any, Any], bool]] = {
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
}


def matches(item: Item, field: str, operator: str, value: Any) -> bool:
    """Tell whether a filter holds for a resource."""
    if field in _COLUMNS:
        return _column(_moment(item[field]) if field.endswith("_at") else item[field], field, operator, value)
    found = list(_values(item, field.split(".")))
    match operator:
        case "exists":
            return bool(found) == (value in (True, "true"))
        case "eq":
            return any(_same(each, value) for each in _unwrapped(found))
        case "ne":
            return not matches(item, field, "eq", value)
        case "in":
            several = value.split(",") if isinstance(value, str) else value
            return any(matches(item, field, "eq", each) for each in several)
        case _:
            return any(_compares(each, operator, value) for each in _unwrapped(found))


def ordered(items: Sequence[Item], sort: Sequence[str]) -> list[str]:
    """Return the ids in the order of `sort`; equals by what the documentation says."""
    keys = [(name.removeprefix("-"), name.startswith("-")) for name in sort]
    down = keys[-1][1]
    if keys[-1][0] in ("type", "status"):
        keys.append(("created_at", down))
    keys.append(("id", down))

    def compare(one: Item, other: Item) -> int:
        for name, descending in keys:
            if one[name] != other[name]:
                return (-1 if one[name] < other[name] else 1) * (-1 if descending else 1)
        return 0

    return [item["id"] for item in sorted(items, key=cmp_to_key(compare))]


def _column(held: Any, field: str, operator: str, value: Any) -> bool:
    if operator == "in":
        several = value.split(",") if isinstance(value, str) else value
        return any(_column(held, field, "eq", each) for each in several)
    wanted = _moment(value) if field.endswith("_at") else value
    match operator:
        case "eq":
            return held == wanted
        case "ne":
            return held != wanted
        case "prefix":
            return held.startswith(wanted)
        case "contains":
            return wanted in held
        case _:
            return _COMPARES[operator](held, wanted)


def _values(holder: Any, steps: Sequence[str]) -> Iterator[Any]:
    """Give what a path leads to, through objects and the elements of arrays."""
    if not steps:
        yield holder
        return
    for each in holder if isinstance(holder, list) else [holder]:
        if isinstance(each, dict) and steps[0] in each:
            yield from _values(each[steps[0]], steps[1:])


def _unwrapped(found: Sequence[Any]) -> Iterator[Any]:
    for each in found:
        if isinstance(each, list):
            yield from each
        else:
            yield each


def _same(held: Any, value: Any) -> bool:
    if isinstance(value, str):
        spelled = [json.loads(value)] if value in ("true", "false", "null") or _NUMBER.fullmatch(value) else []
        return held == value if isinstance(held, str) else any(_identical(held, each) for each in spelled)
    return _identical(held, value)


def _identical(held: Any, value: Any) -> bool:
    return _sort_of(held) is _sort_of(value) and held == value


def _sort_of(value: Any) -> type:
    return float if isinstance(value, int | float) and not isinstance(value, bool) else type(value)


def _compares(held: Any, operator: str, value: Any) -> bool:
    if operator in ("prefix", "contains"):
        return isinstance(held, str) and (held.startswith(value) if operator == "prefix" else value in held)
    wanted = json.loads(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value
    return _sort_of(held) is _sort_of(wanted) and _COMPARES[operator](held, wanted)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text.upper())
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
