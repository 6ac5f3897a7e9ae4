"""Filters: what a client wrote, as conditions of fixed SQL with values beside it.

filter[status]=active               {"status": "active"}
filter[created_at][gte]=2026-01-01  {"created_at": {"gte": "2026-01-01"}}
filter[metadata.team]=x             {"metadata.team": "x"}
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from core.errors import Detail, HubError
from handlers.lists import attributes
from handlers.lists.fields import Field, Fields, Kind, value_of

MOST_FILTERS = 20
MOST_VALUES = 100

Made = TypeVar("Made")

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
# Of a column that may be NULL `ne` is the opposite of `eq`, and it can be asked whether there is a value.
_NULLABLE_IS: Mapping[str, str] = {**_COLUMN_IS, "ne": "{} IS DISTINCT FROM ?", "exists": "({} IS NOT NULL) = ?"}
_PART, _NOT_PART = "attributes @@ ?::text::jsonpath", "(attributes @@ ?::text::jsonpath) IS NOT TRUE"


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition: `sql` has one `?`, for `value`. `found` tells that the index over attributes finds what it holds for."""

    sql: str
    value: Any
    found: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """A field compared with a value of its kind; by `in` with a list of such, by `exists` with true or false."""

    field: Field
    operator: str
    value: Any


class _Unknown(Exception):
    """A name that the list does not have."""


def conditions_of(wanted: Mapping[str, Any], fields: Fields) -> tuple[Condition, ...]:
    """Return the conditions of a client's filters.

    Raises HubError with all that is wrong: UNKNOWN_PARAMETER where a field or operator is not known, else VALIDATION_ERROR.
    """
    return _each(wanted, partial(_condition, fields))


def comparisons_of(wanted: Mapping[str, Any], fields: Fields) -> tuple[Comparison, ...]:
    """Return a client's filters of a list that PostgreSQL does not have; raises as `conditions_of`."""
    return _each(wanted, partial(_comparison, fields))


def _each(wanted: Mapping[str, Any], make: Callable[[str, str, Any], Made]) -> tuple[Made, ...]:
    flat = list(_flat(wanted))
    if len(flat) > MOST_FILTERS:
        raise HubError(
            "VALIDATION_ERROR", details=[Detail("filter", "VALUE_OUT_OF_RANGE", f"At most {MOST_FILTERS} filters")]
        )
    made: list[Made] = []
    unknown: list[Detail] = []
    wrong: list[Detail] = []
    for name, operator, value, shown in flat:
        try:
            made.append(make(name, operator, value))
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


def _condition(fields: Fields, name: str, operator: str, value: Any) -> Condition:
    if name in fields.by_name or "." not in name or name.partition(".")[0] not in fields.parts:
        compared = _comparison(fields, name, operator, value)
        known = _NULLABLE_IS if compared.field.nullable else _COLUMN_IS
        return Condition(known[operator].format(compared.field.sql), compared.value)
    _check_operator(name, operator, PART_OPERATORS)
    return _of_part(name, operator, value)


def _comparison(fields: Fields, name: str, operator: str, value: Any) -> Comparison:
    field = fields.by_name.get(name)
    if field is None:
        known = ", ".join([*sorted(fields.by_name), *(f"{part}.<path>" for part in sorted(fields.parts))])
        raise _Unknown(f"Unknown field '{name[:64]}' to filter by; known here: {known}")
    operators = OPERATORS[field.kind]
    _check_operator(name, operator, (*operators, "exists") if field.nullable else operators)
    if operator == "exists":
        return Comparison(field, operator, _truth(value))
    if operator == "in":
        return Comparison(field, operator, [value_of(field.kind, each) for each in _several(value)])
    if operator in ("prefix", "contains") and value == "":
        raise ValueError("Must have at least one character")
    return Comparison(field, operator, value_of(field.kind, value))


def _check_operator(name: str, operator: str, known: tuple[str, ...]) -> None:
    if operator not in known:
        raise _Unknown(f"Unknown operator '{operator[:64]}' for '{name[:64]}'; known here: {', '.join(known)}")


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
            return Condition(_PART if _truth(value) else _NOT_PART, attributes.exists(path))
        case "prefix" | "contains":
            make: Callable[[str, Any], str] = attributes.begins if operator == "prefix" else attributes.holds
            return Condition(_PART, make(path, value))
        case _:
            return Condition(_PART, attributes.compares(path, operator, value))


def _truth(value: Any) -> bool:
    if value not in (True, False, "true", "false"):
        raise ValueError("Must be true or false")
    return value in (True, "true")


def _several(value: Any) -> list[Any]:
    values: list[Any] = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
    if not 1 <= len(values) <= MOST_VALUES:
        raise ValueError(f"Has 1 to {MOST_VALUES} values")
    return values
