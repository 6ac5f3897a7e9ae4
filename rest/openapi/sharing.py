"""What stands in a document more than once, put among its components: parameters, bodies of requests, answers.

Versions say mostly the same, and a document would say it once for each.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

_VERSION = re.compile(r"v\d+\.")

# What a component would be called; and the dict or list that the part stands in, with where.
_Place = tuple[str, Any, Any]


def share(paths: dict[str, Any], components: dict[str, Any]) -> None:
    """Put what is in `paths` more than once into `components`, and references in its places."""
    for kind, places_in in _PLACES.items():
        kept = components.setdefault(kind, {})
        alike: dict[bytes, list[_Place]] = {}
        for place in places_in(paths):
            _, around, key = place
            if "$ref" not in around[key]:
                alike.setdefault(orjson.dumps(around[key], option=orjson.OPT_SORT_KEYS), []).append(place)
        for places in alike.values():
            if len(places) > 1:
                _move(places, kind, kept)


def _move(places: list[_Place], kind: str, kept: dict[str, Any]) -> None:
    wanted, around, key = places[0]
    name = _free(wanted, kept)
    kept[name] = around[key]
    for _, around, key in places:
        around[key] = {"$ref": f"#/components/{kind}/{name}"}


def _free(wanted: str, kept: Mapping[str, Any]) -> str:
    """Return a name that nothing has yet."""
    name, number = wanted, 1
    while name in kept:
        number += 1
        name = f"{wanted}.{number}"
    return name


def _operations(paths: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give each operation, by its name in every version."""
    for methods in paths.values():
        for operation in methods.values():
            yield _VERSION.sub("", operation["operationId"], count=1), operation


def _parameters(paths: Mapping[str, Any]) -> Iterator[_Place]:
    for _, operation in _operations(paths):
        given = operation.get("parameters", [])
        for number, each in enumerate(given):
            yield each.get("name", "").replace("[", ".").rstrip("]"), given, number


def _bodies(paths: Mapping[str, Any]) -> Iterator[_Place]:
    for name, operation in _operations(paths):
        if "requestBody" in operation:
            yield name, operation, "requestBody"


def _answers(paths: Mapping[str, Any]) -> Iterator[_Place]:
    for name, operation in _operations(paths):
        for status in operation["responses"]:
            yield f"{name}.{status}", operation["responses"], status


_PLACES: Mapping[str, Callable[[Mapping[str, Any]], Iterator[_Place]]] = {
    "parameters": _parameters,
    "requestBodies": _bodies,
    "responses": _answers,
}
