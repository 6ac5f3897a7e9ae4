"""A document of `atomic:operations`, as operations of a batch. Places are told as JSON Pointers.

add      {"op": "add", "data": {"type", "lid", "attributes", ...}}             POST
update   {"op": "update", "data": {"type", "id" or "lid", "attributes", ...}}  PATCH; `ref` or `href` may name it too
remove   {"op": "remove", "ref": {"type", "id" or "lid"}}                      DELETE; or by `href`

A local id (`lid`) names what an earlier operation of the same document makes.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from core.errors import Detail, HubError
from rest.batch.operations import MOST_OPERATIONS, BatchOperation
from rest.jsonapi.incoming import fields_of
from rest.jsonapi.kinds import Kind

OPERATIONS = "atomic:operations"
_METHODS: Mapping[str, str] = {"add": "POST", "update": "PATCH", "remove": "DELETE"}
_HREF = re.compile(r"/([a-z-]+)(?:/([^/?#]+))?")


@dataclass(frozen=True, slots=True)
class _Target:
    """A type, and of it one resource: `path` is how a batch names it, `id` how the document does, as far as it has one."""

    type: str
    path: str | None = None
    id: str | None = None


def read_operations(document: Mapping[str, Any], kinds: Mapping[str, Kind], prefix: str) -> list[BatchOperation]:
    """Return the operations of a document, on resources of these kinds, whose paths begin with `prefix`.

    Raises HubError as rest/jsonapi/incoming.py does, and VALIDATION_ERROR for what is no operation.
    """
    given = document.get(OPERATIONS)
    if not isinstance(given, list) or not 1 <= len(given) <= MOST_OPERATIONS:  # pyright: ignore[reportUnknownArgumentType] - JSON
        code = "MISSING_REQUIRED_FIELD" if given is None else "INVALID_FORMAT"
        raise _refused(f"/{OPERATIONS}", f"Must be an array of 1 to {MOST_OPERATIONS} operations", code)
    reader = _Reader(kinds, prefix)
    items: Sequence[Any] = given  # pyright: ignore[reportUnknownVariableType] - JSON
    return [reader.read(index, each) for index, each in enumerate(items)]


def kind_at(operation: BatchOperation, kinds: Mapping[str, Kind], prefix: str) -> Kind:
    """Return the kind that an operation is about."""
    return kinds[operation.path.removeprefix(prefix).split("/")[1]]


class _Reader:
    """Reads one operation after the other; remembers the local ids that they give."""

    def __init__(self, kinds: Mapping[str, Kind], prefix: str) -> None:
        self._kinds = kinds
        self._prefix = prefix
        self._lids: dict[tuple[str, str], int] = {}

    def read(self, index: int, given: Any) -> BatchOperation:
        place = f"/{OPERATIONS}/{index}"
        if not isinstance(given, Mapping):
            raise _refused(place, "Must be an object")
        operation: Mapping[str, Any] = given  # pyright: ignore[reportUnknownVariableType] - JSON's objects have string keys
        op = operation.get("op")
        if not isinstance(op, str) or op not in _METHODS:
            raise _refused(f"{place}/op", f"Must be one of {', '.join(_METHODS)}")
        data = operation.get("data")
        target = self._target(operation, data, op, place)
        path = target.path if op != "add" else f"{self._prefix}/{target.type}"
        if path is None:
            raise _refused(f"{place}/ref", "Must name a resource by id or lid", "MISSING_REQUIRED_FIELD")
        body = None if op == "remove" else self._fields(operation, target, op, place)
        if op == "add" and isinstance(data, Mapping):
            self._keep_lid(data.get("lid"), target.type, index, place)
        return BatchOperation(_METHODS[op], path, body=body)

    def _target(self, operation: Mapping[str, Any], data: Any, op: str, place: str) -> _Target:
        if "ref" in operation and "href" in operation:
            raise _refused(place, "Has ref or href, not both")
        if "href" in operation:
            return self._by_href(operation["href"], f"{place}/href")
        if "ref" in operation and op != "add":
            return self._by_identifier(operation["ref"], f"{place}/ref")
        if op == "remove":
            raise _refused(f"{place}/ref", "Must name a resource", "MISSING_REQUIRED_FIELD")
        if op == "add" and isinstance(data, Mapping):
            return _Target(self._type(data.get("type"), f"{place}/data/type"))  # pyright: ignore[reportUnknownArgumentType] - JSON
        return self._by_identifier(data, f"{place}/data")

    def _by_href(self, href: Any, place: str) -> _Target:
        matched = _HREF.fullmatch(href.removeprefix(self._prefix)) if isinstance(href, str) else None
        if matched is None:
            raise _refused(place, f"Must be a path such as {self._prefix}/agents")
        type = self._type(matched[1], place)
        if matched[2] is None:
            return _Target(type)
        id = unquote(matched[2])
        return _Target(type, self._path(type, id), id)

    def _by_identifier(self, given: Any, place: str) -> _Target:
        if not isinstance(given, Mapping):
            raise _refused(place, "Must be an object with type and id", "MISSING_REQUIRED_FIELD")
        identifier: Mapping[str, Any] = given  # pyright: ignore[reportUnknownVariableType] - JSON's objects have string keys
        if "relationship" in identifier:
            raise _refused(f"{place}/relationship", "Relationships are changed with their resource: by an update")
        type = self._type(identifier.get("type"), f"{place}/type")
        id, lid = identifier.get("id"), identifier.get("lid")
        if isinstance(id, str) and id:
            return _Target(type, self._path(type, id), id)
        index = self._lids.get((type, lid)) if isinstance(lid, str) else None
        if index is None:
            wrong = "lid" if "lid" in identifier else "id"
            raise _refused(f"{place}/{wrong}", "Must be an id, or a lid that an earlier operation gives")
        return _Target(type, f"{self._prefix}/{type}/{{{index}.body.id}}")

    def _fields(self, operation: Mapping[str, Any], target: _Target, op: str, place: str) -> Mapping[str, Any]:
        kind = self._kinds[target.type]
        lids = {key: {"$ref": f"{index}.body.id"} for key, index in self._lids.items()}
        document = dict(operation)
        data = operation.get("data")
        if op == "update" and target.id is None and isinstance(data, Mapping):
            # The resource is named by its local id: to what checks ids it is the one that is meant.
            document["data"] = {**data, "id": ""}
        id = None if op == "add" else target.id or ""
        try:
            return fields_of(document, kind, id, lids)
        except HubError as error:
            raise HubError(
                error.code,
                error.message,
                details=[Detail(f"{place}{each.field}", each.code, each.message) for each in error.details],
            ) from error

    def _keep_lid(self, lid: Any, type: str, index: int, place: str) -> None:
        if lid is None:
            return
        if not isinstance(lid, str) or (type, lid) in self._lids:
            raise _refused(f"{place}/data/lid", "Must be a text that names nothing else")
        self._lids[type, lid] = index

    def _type(self, type: Any, place: str) -> str:
        if not isinstance(type, str) or type not in self._kinds:
            raise _refused(place, f"Must be one of {', '.join(self._kinds)}")
        return type

    def _path(self, type: str, id: str) -> str:
        return f"{self._prefix}/{type}/{quote(id, safe='')}"


def _refused(place: str, message: str, code: str = "INVALID_FORMAT") -> HubError:
    return HubError("VALIDATION_ERROR", details=[Detail(place, code, message)])
