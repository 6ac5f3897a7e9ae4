"""Filters: what a client wrote, as conditions of fixed SQL with values beside it.

filter[status]=active               {"status": "active"}
filter[created_at][gte]=2026-01-01  {"created_at": {"gte": "2026-01-01"}}
filter[metadata.team]=x             {"metadata.team": "x"}
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import Detail, HubError
from handlers.lists import attributes
from handlers.lists.fields import Field, Fields, Kind, value_of

MOST_FILTERS = 20
MOST_VALUES = 100

_COMPARED = ("eq", "ne", "in", "gt", "gte", "lt", "lte")
OPERATORS: Mapping[Kind, tuple[str, ...]] = {
    Kind.TEXT: (*_COMPARED, "prefix", "contains"),
    Kind.MOMENT: _COMPARED,
    Kind.ID: ("eq", "ne", "in"),
    Kind.NUMBER: _COMPARED,
}
PART_OPERATORS = (*_COMPARED, "prefix", "contains", "exists")

# {} is the column, ? the value.
_COLUMN_IS: Mapping[str, str] = {
    "eq": "{} = ?",
    "ne": "{} <> ?",
    "in": "{} = ANY (?)",
    "gt": "{} > ?",
    "gte": "{} >= ?",
    "lt": "{} < ?",
    "lte": "{} <= ?",
    "prefix": "starts_with({}, ?)",
    "contains": "strpos({}, ?) > 0",
}
_PART, _NOT_PART = "attributes @@ ?::text::jsonpath", "(attributes @@ ?::text::jsonpath) IS NOT TRUE"


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition: `sql` has one `?`, for `value`. `found` tells that the index over attributes finds what it holds for."""

    sql: str
    value: Any
    found: bool = False


class _Unknown(Exception):
    """A name that the list does not have."""


def conditions_of(wanted: Mapping[str, Any], fields: Fields) -> tuple[Condition, ...]:
    """Return the conditions of a client's filters.

    Raises HubError with all that is wrong: UNKNOWN_PARAMETER where a field or operator is not known, else VALIDATION_ERROR.
    """
    flat = list(_flat(wanted))
    if len(flat) > MOST_FILTERS:
        raise HubError(
            "VALIDATION_ERROR", details=[Detail("filter", "VALUE_OUT_OF_RANGE", f"At most {MOST_FILTERS} filters")]
        )
    made: list[Condition] = []
    unknown: list[Detail] = []
    wrong: list[Detail] = []
    for name, operator, value, shown in flat:
        try:
            made.append(_condition(name, operator, value, fields))
        except _Unknown as error:
            unknown.append(Detail(shown, "UNKNOWN_PARAMETER", str(error)))
        except ValueError as error:
            wrong.append(Detail(shown, "INVALID_FORMAT", str(error)))
    if unknown:
        raise HubError("UNKNOWN_PARAMETER", unknown[0].message, details=[*unknown, *wrong])
    if wrong:
        raise HubError("VALIDATION_ERROR", details=wrong)
    return tuple(made)


def _flat(wanted: Mapping[str, Any]) -> Iterator[tuple[str, str, Any, str]]:
    """Give field, operator, value, and how the filter is called in an answer."""
    for name, value in wanted.items():
        field = f"filter[{name[:64]}]"
        if isinstance(value, Mapping):
            for operator, operand in value.items():  # pyright: ignore[reportUnknownVariableType] - JSON
                yield name, str(operator), operand, f"{field}[{str(operator)[:64]}]"  # pyright: ignore[reportUnknownArgumentType]
        else:
            yield name, "in" if isinstance(value, list) else "eq", value, field


def _condition(name: str, operator: str, value: Any, fields: Fields) -> Condition:
    field = fields.by_name.get(name)
    if field is not None:
        _check_operator(name, operator, OPERATORS[field.kind])
        return _of_field(field, operator, value)
    if name.partition(".")[0] not in fields.parts or "." not in name:
        known = ", ".join([*sorted(fields.by_name), *(f"{part}.<path>" for part in sorted(fields.parts))])
        raise _Unknown(f"Unknown field '{name[:64]}' to filter by; known here: {known}")
    _check_operator(name, operator, PART_OPERATORS)
    return _of_part(name, operator, value)


def _check_operator(name: str, operator: str, known: tuple[str, ...]) -> None:
    if operator not in known:
        raise _Unknown(f"Unknown operator '{operator[:64]}' for '{name[:64]}'; known here: {', '.join(known)}")


def _of_field(field: Field, operator: str, value: Any) -> Condition:
    if operator == "in":
        return Condition(_COLUMN_IS["in"].format(field.sql), [value_of(field.kind, each) for each in _several(value)])
    if operator in ("prefix", "contains") and value == "":
        raise ValueError("Must have at least one character")
    return Condition(_COLUMN_IS[operator].format(field.sql), value_of(field.kind, value))


def _of_part(name: str, operator: str, value: Any) -> Condition:
    path = attributes.path_of(name)
    if path is None:
        raise ValueError(f"A path has at most {attributes.MOST_STEPS} names with dots between them")
    match operator:
        case "eq" | "in":
            return Condition(
                _PART, attributes.equals(path, _several(value) if operator == "in" else [value]), found=True
            )
        case "ne":
            return Condition(_NOT_PART, attributes.equals(path, [value]))
        case "exists":
            if value not in (True, False, "true", "false"):
                raise ValueError("Must be true or false")
            return Condition(_PART if value in (True, "true") else _NOT_PART, attributes.exists(path))
        case "prefix" | "contains":
            make: Callable[[str, Any], str] = attributes.begins if operator == "prefix" else attributes.holds
            return Condition(_PART, make(path, value))
        case _:
            return Condition(_PART, attributes.compares(path, operator, value))


def _several(value: Any) -> list[Any]:
    values: list[Any] = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
    if not 1 <= len(values) <= MOST_VALUES:
        raise ValueError(f"Has 1 to {MOST_VALUES} values")
    return values
