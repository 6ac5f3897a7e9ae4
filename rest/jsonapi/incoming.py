"""A request's document as an operation's input: the attributes and relationships of its one resource object.

What JSON:API does not know, and members that begin with @, are ignored, as it asks ("Document Structure", "@-Members"); what a
resource does not have is refused. Places are told as JSON Pointers.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from core.errors import Detail, HubError
from core.ids import parse_id
from rest.jsonapi.kinds import Kind, plain, shown

ATTRIBUTES = "/data/attributes"
RELATIONSHIPS = "/data/relationships"
_NAMES = frozenset({"type", "id"})
# What stands for the ids of resources that the same request makes, by type and local id.
LocalIds = Mapping[tuple[str, str], Any]
_NONE: LocalIds = {}


def fields_of(document: Mapping[str, Any], kind: Kind, id: str | None, lids: LocalIds = _NONE) -> dict[str, Any]:
    """Return the plain fields of a document about the resource with `id`, or with None about a new one.

    Relationships may name resources by `lids`.

    Raises HubError RESOURCE_CONFLICT for another type or id, FORBIDDEN where the client names a new one, and VALIDATION_ERROR with
    all else that is wrong.
    """
    data = document.get("data")
    if not isinstance(data, Mapping):
        code = "INVALID_FORMAT" if "data" in document else "MISSING_REQUIRED_FIELD"
        raise HubError("VALIDATION_ERROR", details=[Detail("/data", code, "Must be a resource object")])
    wrong = [*_identity(data, kind, id)]
    fields: dict[str, Any] = {}
    for name, value in _object(data, "attributes", wrong):
        if name in _NAMES or name in kind.relationships:
            wrong.append(Detail(f"{ATTRIBUTES}/{_step(name)}", "INVALID_FORMAT", "Is no attribute"))
        else:
            fields[plain(name)] = value
    for name, value in _object(data, "relationships", wrong):
        place = f"{RELATIONSHIPS}/{_step(name)}"
        if name in kind.relationships:
            fields[name] = _linkage(value, kind.relationships[name], place, wrong, lids)
        else:
            wrong.append(Detail(place, "INVALID_FORMAT", f"{kind.type} have no such relationship"))
    if wrong:
        raise HubError("VALIDATION_ERROR", details=wrong)
    return fields


def pointer_of(field: str, kind: Kind) -> str:
    """Return where in a document a plain field is, such as `capabilities[2].name`; what is a pointer already stays."""
    if field.startswith("/"):
        return field
    if field == "body":
        return ""
    steps = field.replace("]", "").replace("[", ".").split(".")
    first = shown(steps[0])
    if first not in kind.relationships:
        return "/".join([ATTRIBUTES, first, *steps[1:]])
    return "/".join([RELATIONSHIPS, first, "data", *([*steps[1:], "id"] if steps[1:] else ())])


def existing(pointer: str, document: Any) -> str:
    """Return the longest part of a pointer that leads to something in `document` (JSON:API, "Error Objects", pointer)."""
    found = ""
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(document, Mapping) and name in document:
            document = document[name]
        elif isinstance(document, list) and name.isdecimal() and int(name) < len(document):
            document = document[int(name)]
        else:
            break
        found += f"/{step}"
    return found


def _identity(data: Mapping[Any, Any], kind: Kind, id: str | None) -> Iterator[Detail]:
    type = data.get("type")
    if not isinstance(type, str):
        yield Detail("/data/type", "INVALID_FORMAT" if "type" in data else "MISSING_REQUIRED_FIELD", "Must be a text")
    elif type != kind.type:
        raise _conflict("/data/type", f"Here are {kind.type}")
    if id is None:
        if "id" in data:
            message = "The hub gives ids itself"
            raise HubError("FORBIDDEN", message, details=[Detail("/data/id", "FORBIDDEN", message)])
    elif not isinstance(data.get("id"), str):
        yield Detail("/data/id", "INVALID_FORMAT" if "id" in data else "MISSING_REQUIRED_FIELD", "Must be a text")
    elif not _is_same(data["id"], id):
        raise _conflict("/data/id", "Is not the resource of the path")


def _is_same(given: str, id: str) -> bool:
    return given == id or (parse_id(given) is not None and parse_id(given) == parse_id(id))


def _conflict(place: str, message: str) -> HubError:
    return HubError("RESOURCE_CONFLICT", message, details=[Detail(place, "RESOURCE_CONFLICT", message)])


def _object(data: Mapping[Any, Any], name: str, wrong: list[Detail]) -> Iterator[tuple[str, Any]]:
    held = data.get(name, {})
    if isinstance(held, Mapping):
        yield from ((key, value) for key, value in held.items() if not key.startswith("@"))  # pyright: ignore[reportUnknownVariableType] - JSON
    else:
        wrong.append(Detail(f"/data/{name}", "INVALID_FORMAT", "Must be an object"))


def _linkage(value: Any, type: str, place: str, wrong: list[Detail], lids: LocalIds) -> list[Any]:
    named = value.get("data") if isinstance(value, Mapping) else None
    if not isinstance(named, list):
        wrong.append(Detail(f"{place}/data", "INVALID_FORMAT", "Must be an array of resource identifiers"))
        return []
    ids: list[Any] = []
    for index, each in enumerate(named):  # pyright: ignore[reportUnknownArgumentType] - JSON
        id = _id_of(each, type, lids)
        if id is not None:
            ids.append(id)
        else:
            wrong.append(Detail(f"{place}/data/{index}", "INVALID_FORMAT", f'Must have the type "{type}" and an id'))
    return ids


def _id_of(identifier: Any, type: str, lids: LocalIds) -> Any:
    if not isinstance(identifier, Mapping) or identifier.get("type") != type:
        return None
    id, lid = identifier.get("id"), identifier.get("lid")
    return id if isinstance(id, str) else lids.get((type, lid)) if isinstance(lid, str) else None


def _step(name: str) -> str:
    return name[:64].replace("~", "~0").replace("/", "~1")
