"""The query of a list, as an operation's input: `filter[created_at][gte]=...` becomes `{"filter": {"created_at": {"gte": ...}}}`.

`fields[agents]=`, JSON:API's spelling, is `fields=`. What the names and values mean is the operation's matter.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from core.errors import Detail, HubError
from rest.asked import Asked, Query

# deepObject of OpenAPI, with the operator as one level more.
_FILTER = re.compile(r"filter\[([^\[\]]+)\](?:\[([^\[\]]+)\])?")


def list_input_of(kind: str) -> Callable[[Asked], Mapping[str, Any]]:
    """Return how a request for a list of `kind` becomes its input.

    Raises HubError UNKNOWN_PARAMETER for a name in brackets that is neither a filter nor `fields[<kind>]`, BAD_REQUEST for what is
    there twice.
    """

    def shape(asked: Asked) -> Mapping[str, Any]:
        query = asked.query
        return _nested(query, kind) if any("[" in name for name in query) else query

    return shape


def _nested(query: Query, kind: str) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    filters: dict[str, dict[str, Any]] = {}
    for name, value in query.items():
        matched = _FILTER.fullmatch(name)
        if matched is not None:
            _put(filters.setdefault(matched[1], {}), matched[2] or "eq", value, name)
        elif name == f"fields[{kind}]":
            _put(plain, "fields", value, name)
        elif "[" in name:
            known = f"filter[<field>], filter[<field>][<operator>], fields[{kind}]"
            message = f"Unknown query parameter '{name[:64]}'; known with brackets: {known}"
            raise HubError("UNKNOWN_PARAMETER", message, details=[Detail(name[:64], "UNKNOWN_PARAMETER", message)])
        else:
            _put(plain, name, value, name)
    if filters:
        # One without an operator is handed on as it was written, so that a refusal names it so.
        plain["filter"] = {
            field: each["eq"] if f"filter[{field}]" in query and len(each) == 1 else each
            for field, each in filters.items()
        }
    return plain


def _put(holder: dict[str, Any], name: str, value: str, shown: str) -> None:
    if name in holder:
        raise HubError("BAD_REQUEST", f"The query has '{shown[:64]}' more than once")
    holder[name] = value
