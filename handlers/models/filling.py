"""Filling a schema with what a tool gave. Nothing is made up: what no tool gave is left out, or refused. No I/O.

A property gets, the first that is there:

    the field of its name that the tool's result has (of JSON that stands in `result` or `body`, as servers' results do, too)
    `text` and `answer`: what is said without a schema
    its own `const` or `default`
"""

from collections.abc import Mapping
from typing import Any, cast

import orjson

from handlers.models.model import ModelError
from handlers.models.structured import UnfitError, read_structured

_SAID = ("text", "answer")
_WITHIN = ("result", "body")
_MOST_NAMED = 10


def filled(schema: Mapping[str, Any], result: str, said: str) -> str:
    """Return JSON of `schema`: from a tool's `result`, of which `said` is what is told to a person.

    Raises ModelError, `is_unfit`, which names what no tool gave, or what is not of the schema.
    """
    given = fields_of(result)
    properties = fields_in(schema.get("properties"))
    value = _picked(properties, given, said) if properties else given or {"text": said}
    missing = [str(name) for name in schema.get("required", ()) if name not in value]
    if missing:
        named = ", ".join(missing[:_MOST_NAMED])
        raise ModelError(f"No tool gave what the schema asks for: {named}", is_final=True, is_unfit=True)
    try:
        written = orjson.dumps(value).decode()
        read_structured(written, schema)
    except (UnfitError, orjson.JSONEncodeError) as error:
        message = f"What the tool gave is not of the schema: {error}"
        raise ModelError(message, is_final=True, is_unfit=True) from error
    return written


def fields_of(text: str) -> dict[str, Any]:
    """Return the fields of a JSON object, with those of one that it carries as text; empty where it is none."""
    found = _read(text)
    for name in _WITHIN:
        within = found.get(name)
        if isinstance(within, str):
            found = found | _read(within)
    return found


def fields_in(value: Any) -> dict[str, Any]:
    """Return an object as it is; empty where it is none."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _picked(properties: Mapping[str, Any], given: Mapping[str, Any], said: str) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for name, told in properties.items():
        schema = fields_in(told)
        if name in given:
            value[name] = _trimmed(given[name], schema)
        elif name in _SAID and schema.get("type", "string") in ("string", ["string", "null"]):
            value[name] = said
        elif (own := next((key for key in ("const", "default") if key in schema), None)) is not None:
            value[name] = schema[own]
    return value


def _trimmed(value: Any, schema: Mapping[str, Any]) -> Any:
    """Return what a tool gave without members that the schema does not name, where it takes no others."""
    if isinstance(value, list):
        items = fields_in(schema.get("items"))
        return [_trimmed(each, items) for each in cast("list[Any]", value)]
    properties = fields_in(schema.get("properties"))
    if not isinstance(value, dict) or schema.get("additionalProperties") is not False:
        return value
    members = cast("dict[str, Any]", value)
    return {name: _trimmed(each, fields_in(properties[name])) for name, each in members.items() if name in properties}


def _read(text: str) -> dict[str, Any]:
    try:
        return fields_in(orjson.loads(text))
    except orjson.JSONDecodeError:
        return {}
