"""Turning a caller's input into an operation's model, and what is wrong with it into the catalogue's details."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from core.errors import Detail, HubError
from core.operations.places import field_path, meant, steps_within
from core.watch import WATCHED

# Of an input, itself counted. Many clients cannot read deeper JSON; orjson and pydantic cannot write it from 255 on.
MOST_LEVELS = 64
_HOLDERS = frozenset((dict, list))

_MISSING = frozenset({"missing"})
_OUT_OF_RANGE = (
    "greater_than",
    "less_than",
    "too_long",
    "too_short",
    "string_too",
    "bytes_too",
    "multiple_of",
    "finite_number",
    "int_parsing_size",
    "out_of_range",
)


def validated(model: type[BaseModel], data: Mapping[str, Any]) -> BaseModel:
    """Return `data` as a `model`; raises HubError VALIDATION_ERROR with every error at once."""
    watch = WATCHED.get()
    return _validated(model, data) if watch is None else watch.call("validate", _validated, model, data)


def _validated(model: type[BaseModel], data: Mapping[str, Any]) -> BaseModel:
    _check_depth(data)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise invalid(data, error) from error


def invalid(value: Any, error: ValidationError, place: str = "") -> HubError:
    """Return the refusal that lists all that pydantic found in `value`, which stands at `place` of what was sent."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    before = (place,) if place else ()
    details = [
        Detail(
            field_path((*before, *steps_within(value, item["loc"], is_missing=item["type"] in _MISSING))),
            _code(item["type"]),
            _message(item["msg"]),
        )
        for item in found
    ]
    return HubError("VALIDATION_ERROR", details=list(meant(details)))


def _check_depth(data: Mapping[str, Any]) -> None:
    deep = [name for name, value in _fields(data) if type(value) in _HOLDERS and is_deep(value)]
    if deep:
        message = f"At most {MOST_LEVELS} levels of nesting are taken"
        raise HubError("VALIDATION_ERROR", details=[Detail(name, "VALUE_OUT_OF_RANGE", message) for name in deep])


def _fields(data: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in data.items():
        if name == "body" and isinstance(value, dict):
            yield from value.items()
        else:
            yield name, value


def is_deep(value: Any) -> bool:
    """Tell whether a field with `value`, a list or an object, has over MOST_LEVELS levels; without recursing."""
    level = [value]
    for _ in range(MOST_LEVELS - 1):
        level = [
            item
            for holder in level
            for item in (holder.values() if isinstance(holder, dict) else holder)
            if type(item) in _HOLDERS  # a third of the time of isinstance, a hundred thousand times
        ]
        if not level:
            return False
    return True


def _code(kind: str) -> str:
    if kind in _MISSING:
        return "MISSING_REQUIRED_FIELD"
    if any(part in kind for part in _OUT_OF_RANGE):
        return "VALUE_OUT_OF_RANGE"
    return "INVALID_FORMAT"


def _message(text: str) -> str:
    # JSON has lists only.
    return text.removeprefix("Value error, ").replace("tuple", "list").replace("Tuple", "List")
