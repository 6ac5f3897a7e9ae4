"""The order of a list: `sort=-created_at,name`, and where in it a cursor stands.

The id, or what else is unique, comes last, so no two rows are equal.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import Detail, HubError
from handlers.lists.fields import Field, Fields

MOST_SORTS = 5

# Takes a value, returns its placeholder.
Bind = Callable[[Any], str]


@dataclass(frozen=True, slots=True)
class Key:
    """One field of an order."""

    field: Field
    descending: bool


Order = tuple[Key, ...]


def order_of(wanted: Sequence[str], fields: Fields) -> Order:
    """Return the order that a client wants; raises HubError UNKNOWN_PARAMETER or VALIDATION_ERROR for `sort`."""
    if not 1 <= len(wanted) <= MOST_SORTS:
        raise _wrong("VALUE_OUT_OF_RANGE", f"Names 1 to {MOST_SORTS} fields")
    keys: list[Key] = []
    for text in wanted:
        name = text.removeprefix("-")
        field = fields.by_name.get(name)
        if field is None or not field.sortable:
            known = ", ".join(sorted(each.name for each in fields.by_name.values() if each.sortable))
            message = f"Unknown field '{name[:64]}' to sort by; known here: {known}"
            raise HubError("UNKNOWN_PARAMETER", message, details=[Detail("sort", "UNKNOWN_PARAMETER", message)])
        if any(key.field is field for key in keys):
            raise _wrong("INVALID_FORMAT", f"Names '{name}' more than once")
        keys.append(Key(field, text.startswith("-")))
    return complete(keys, fields)


def complete(keys: Sequence[Key], fields: Fields) -> Order:
    """Return an order with what tells equals apart, in the direction of its last field."""
    named = [key.field.name for key in keys]
    if fields.unique in named:
        return tuple(keys[: named.index(fields.unique) + 1])
    descending, then = keys[-1].descending, keys[-1].field.then
    rest = [then] if then is not None and then not in named else []
    return (*keys, *(Key(fields.by_name[name], descending) for name in (*rest, fields.unique)))


def order_by(order: Order, *, backward: bool = False) -> str:
    """Return what follows ORDER BY."""
    return ", ".join(f"{key.field.sql} {'DESC' if key.descending != backward else 'ASC'}" for key in order)


def beyond(order: Order, values: Sequence[Any], bind: Bind, *, backward: bool) -> str:
    """Return the condition that a row stands behind these values (before them, if `backward`)."""
    places = [bind(value) for value in values]
    signs = ["<" if key.descending != backward else ">" for key in order]
    if len(set(signs)) == 1:
        # Row comparison is one range of an index.
        columns = ", ".join(key.field.sql for key in order)
        return f"({columns}) {signs[0]} ({', '.join(places)})"
    steps = list(zip((key.field.sql for key in order), signs, places, strict=True))
    column, sign, place = steps[-1]
    condition = f"{column} {sign} {place}"
    for column, sign, place in reversed(steps[:-1]):
        condition = f"({column} {sign} {place} OR ({column} = {place} AND {condition}))"
    # What follows from it, said once more, so that an index over the first field begins at the right place.
    column, sign, place = steps[0]
    return f"{column} {sign}= {place} AND {condition}"


def _wrong(code: str, message: str) -> HubError:
    return HubError("VALIDATION_ERROR", details=[Detail("sort", code, message)])
