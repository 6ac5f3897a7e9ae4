"""What a list can be sorted and filtered by: its fields, and the values that they are compared with.

Field    a column, by the name that clients know; what it holds is its Kind
Kind     TEXT, compared by code points; MOMENT; ID; NUMBER, a whole one
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from core.ids import parse_id

LONGEST_VALUE = 1000
_LARGEST = 2**63 - 1
# RFC 3339, section 5.6; a full-date alone is its first moment in UTC. Finer than microseconds is not kept, so it is not compared.
_NUMBER = re.compile(r"[0-9]{1,19}")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:[Zz]|[+-]\d\d:\d\d))?")


class Kind(Enum):
    """What a field holds."""

    TEXT = "text"
    MOMENT = "moment"
    ID = "id"
    NUMBER = "number"
    RANK = "rank"  # how well a row matches `q`: not a field that clients name


@dataclass(frozen=True, slots=True)
class Field:
    """One field: `sql` is the column as it is compared, `sortable` tells whether clients may sort by it.

    Where `then` is set, equals are sorted by that field before the id: as the field's index has them. A `nullable` one may have no
    value; a cursor cannot stand there, so it is not sortable.
    """

    name: str
    sql: str
    kind: Kind
    sortable: bool = True
    then: str | None = None
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Fields:
    """What a list knows: its fields by name, and the parts of its documents that filters may look into."""

    by_name: Mapping[str, Field]
    parts: frozenset[str] = frozenset()
    unique: str = "id"  # no two rows have the same


def storable(text: str) -> bool:
    """Tell whether PostgreSQL's text can hold `text`: it has neither NUL nor lone surrogates."""
    return "\x00" not in text and (text.isascii() or not any("\ud800" <= each <= "\udfff" for each in text))


def value_of(kind: Kind, given: Any) -> Any:
    """Return a client's value as its field is compared with; raises ValueError, for people, for one that is none."""
    if kind is Kind.NUMBER and type(given) is int:
        given = str(given)  # of a call of the stream
    if not isinstance(given, str):
        raise ValueError("Must be a text")
    if len(given) > LONGEST_VALUE:
        raise ValueError(f"Has at most {LONGEST_VALUE} characters")
    match kind:
        case Kind.MOMENT:
            return moment_of(given)
        case Kind.NUMBER:
            return _number(given)
        case Kind.ID:
            id = parse_id(given)
            if id is None:
                raise ValueError("Must be a UUID")
            return id
        case _:
            if not storable(given):
                raise ValueError("NUL characters and lone surrogates are not allowed")
            return given


def _number(given: str) -> int:
    if _NUMBER.fullmatch(given) is None or int(given) > _LARGEST:
        raise ValueError("Must be a whole number, 0 or more")
    return int(given)


def moment_of(given: str) -> datetime:
    """Return the moment that a client's text names; raises ValueError, for people, where it names none."""
    wrong = ValueError("Must be a date, or a time with its offset (RFC 3339); in a query + is written %2B")
    if _MOMENT.fullmatch(given) is None:
        raise wrong
    try:
        moment = datetime.fromisoformat(given.upper())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise wrong from error
