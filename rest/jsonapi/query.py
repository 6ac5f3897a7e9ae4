"""The query of JSON:API, which has families of its own, as operations know it (JSON:API, "Query Parameters").

page[number] page[size] page[after] page[before] page[limit]    page, per_page, after, before, limit
sort, filter[<field>], filter[<field>][<operator>]              the same; other parameters of the route are filters too
as_of                                                           the same
fields[<type>], include                                         not the operation's matter: what of its answer is written
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from core.errors import Detail, HubError
from rest.asked import Paging, Query
from rest.jsonapi.kinds import Kind, plain

PAGING = Paging(
    frozenset(f"page[{name}]" for name in ("number", "size", "after", "before", "limit")),
    *(f"page%5B{name}%5D" for name in ("number", "size", "after", "before", "limit")),
)
_PAGES: Mapping[str, str] = {
    "page[number]": "page",
    "page[size]": "per_page",
    "page[after]": "after",
    "page[before]": "before",
    "page[limit]": "limit",
}
_BETWEEN = frozenset({"page[after]", "page[before]", "page[limit]"})
# An own parameter has a name with more in it than a to z (JSON:API, "Implementation-Specific Query Parameters").
_OWN = frozenset({"as_of"})
_NOT_FILTERS = frozenset({*_PAGES.values(), *_OWN, "sort", "fields", "fields["})
# Of lists with filters this is none.
_PARAMETERS = frozenset({"q"})
_FILTER = re.compile(r"filter\[([^\[\]]+)\](\[[^\[\]]+\])?")
_FIELDS = re.compile(r"fields\[([^\[\]]+)\]")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a query asks for: `query` is the operation's; `names` say how its parameters were called."""

    query: Query
    names: Mapping[str, str]
    include: tuple[str, ...] = ()
    fields: Mapping[str, frozenset[str]] = dataclasses.field(default_factory=dict[str, frozenset[str]])


def known_of(query: frozenset[str], method: str, *, has_relationships: bool) -> frozenset[str]:
    """Return the names, and beginnings of names, that a route has whose plain parameters are `query`."""
    known = {name for name in ("sort", *_OWN) if name in query}
    if "page" in query:
        known.add("page[")
    if query - _NOT_FILTERS:
        known.add("filter[")
    if method == "GET":
        known |= {"fields[", "include"} if has_relationships else {"fields["}
    return frozenset(known)


def wanted_of(given: Query, plain_names: frozenset[str], kinds: Mapping[str, Kind], main: Kind) -> Wanted:
    """Return what `given` means for a route with these plain parameters; `kinds` are those that its answers can have.

    Raises HubError UNKNOWN_PARAMETER for what the route does not have.
    """
    query: dict[str, str] = {}
    names: dict[str, str] = {}
    include: tuple[str, ...] = ()
    fields: dict[str, frozenset[str]] = {}
    for name, value in given.items():
        if name == "include":
            include = _included(value, main)
        elif name.startswith("fields["):
            fields |= _fields(name, value, kinds)
        else:
            known = _plain_name(name, plain_names, is_window=not _BETWEEN.isdisjoint(given))
            if known in query:
                raise HubError("BAD_REQUEST", f"The query has both '{names[known]}' and '{name[:64]}'")
            query[known], names[known] = (_sort(value) if name == "sort" else value), name
    return Wanted(query, names, include, fields)


def _plain_name(name: str, known: frozenset[str], *, is_window: bool) -> str:
    if name == "sort":
        return name
    if name in _PAGES:
        # The number of a window's items is its limit, however it is called.
        found = "limit" if name == "page[size]" and is_window else _PAGES[name]
        return _checked(name, found, found in known)
    if name in _OWN:
        return _checked(name, name, name in known)
    matched = _FILTER.fullmatch(name)
    if matched is None:
        raise _unknown(name)
    field, operator = plain(matched[1]), matched[2] or ""
    is_parameter = field in known - _NOT_FILTERS and not operator
    if "filter[" in known and field not in _PARAMETERS:
        return f"filter[{field}]{operator}"
    return _checked(name, field, is_parameter)


def _checked(name: str, found: str, is_there: bool) -> str:
    if not is_there:
        raise _unknown(name)
    return found


def _sort(value: str) -> str:
    fields = (each.strip() for each in value.split(","))
    return ",".join(f"-{plain(each[1:])}" if each.startswith("-") else plain(each) for each in fields)


def _included(value: str, main: Kind) -> tuple[str, ...]:
    paths = tuple(dict.fromkeys(_words(value)))
    for path in paths:
        if path not in main.relationships:
            raise _unknown("include", f"There is no relationship '{path[:64]}'; there is {_all(main.relationships)}")
    return paths


def _fields(name: str, value: str, kinds: Mapping[str, Kind]) -> dict[str, frozenset[str]]:
    matched = _FIELDS.fullmatch(name)
    kind = None if matched is None else kinds.get(matched[1])
    if kind is None:
        raise _unknown(name)
    wanted = frozenset(_words(value))
    for field in sorted(wanted - kind.fields):
        raise _unknown(name, f"{kind.type} have no field '{field[:64]}'; they have {_all(kind.fields)}")
    return {kind.type: wanted}


def _words(value: str) -> list[str]:
    return [word for each in value.split(",") if (word := each.strip())]


def _all(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _unknown(name: str, message: str | None = None) -> HubError:
    text = message or f"Unknown query parameter '{name[:64]}'"
    return HubError("UNKNOWN_PARAMETER", text, details=[Detail(name[:64], "UNKNOWN_PARAMETER", text)])
