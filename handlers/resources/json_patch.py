"""JSON Patch (RFC 6902) of a resource: operations one after the other, all of them or none, in bounded time.

What the hub writes itself may be tested and copied from, not changed. Places are told as `patch[2].path`.
"""

import re
from collections.abc import Collection, Sequence
from typing import Annotated, Any, Literal, NoReturn, Self

import orjson
from jsonpatch import JsonPatch, JsonPatchException, JsonPatchTestFailed
from jsonpointer import EndOfList, JsonPointer, JsonPointerException
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from core.errors import Detail, HubError
from handlers.described import Described

MOST_OPERATIONS = 1_000
MOST_STEPS = 64
# What `move` and `copy` carry, all together: copies of copies would double with each operation.
MOST_CARRIED_BYTES = 1024 * 1024
MOST_CARRIED_VALUES = 100_000

_POINTER = re.compile(r"(/([^~/]|~[01])*)*")
_NEEDS_VALUE = frozenset({"add", "replace", "test"})
_CARRIES = frozenset({"move", "copy"})
_LONGEST_POINTER = 4_000


def _is_pointer(text: str) -> str:
    if _POINTER.fullmatch(text) is None:
        raise ValueError("Must be a JSON Pointer (RFC 6901), such as /data/stock")
    if text.count("/") > MOST_STEPS:
        raise ValueError(f"A path has at most {MOST_STEPS} steps")
    return text


Pointer = Annotated[
    str,
    StringConstraints(max_length=_LONGEST_POINTER),
    AfterValidator(_is_pointer),
    Described("pattern", f"^{_POINTER.pattern}$"),
]


class PatchOperation(BaseModel):
    """One operation; `value` is of add, replace and test, `from` of move and copy. Other members mean nothing (RFC 6902, 4)."""

    model_config = ConfigDict(
        extra="ignore",
        strict=True,
        json_schema_extra={"examples": [{"op": "replace", "path": "/status", "value": "paused"}]},
    )

    op: Literal["add", "remove", "replace", "move", "copy", "test"]
    path: Pointer
    value: Any = None
    origin: Pointer | None = Field(default=None, alias="from")

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.op in _NEEDS_VALUE and "value" not in self.model_fields_set:
            raise ValueError(f"{self.op} needs a value")
        if self.op in _CARRIES and self.origin is None:
            raise ValueError(f"{self.op} needs from")
        return self

    def as_object(self) -> dict[str, Any]:
        """Return what the library takes."""
        return {"op": self.op, "path": self.path, "value": self.value, "from": self.origin}

    def writes(self) -> tuple[str, ...]:
        """Return the places that it changes."""
        if self.op == "test":
            return ()
        return (self.path, self.origin) if self.op == "move" and self.origin is not None else (self.path,)


def patched(text: str, operations: Sequence[PatchOperation], own: Collection[str]) -> dict[str, Any]:
    """Return the document `text` (JSON) as the operations leave it; `own` are the fields that they may not change.

    Raises HubError PATCH_TEST_FAILED, RESOURCE_CONFLICT where a path leads nowhere, and VALIDATION_ERROR for what may not be.
    """
    document: Any = orjson.loads(text)
    load = _Load()
    for index, each in enumerate(operations):
        _check_own(each, index, own)
        try:
            load.carry(document, each, index)
            document = JsonPatch([each.as_object()]).apply(document, in_place=True)
        except JsonPatchTestFailed as error:
            _refuse(index, "PATCH_TEST_FAILED", f"The test of {_named(each.path)} does not hold", error)
        except (JsonPatchException, JsonPointerException) as error:
            where = each.path if each.origin is None else f"{each.origin} or {each.path}"
            _refuse(index, "RESOURCE_CONFLICT", f"{each.op} has nothing to work on at {_named(where)}", error)
    if not isinstance(document, dict):
        raise HubError("VALIDATION_ERROR", details=[Detail("patch", "INVALID_FORMAT", "Must leave a JSON object")])
    return document  # pyright: ignore[reportUnknownVariableType] - JSON's objects have string keys


def writes_to(operations: Sequence[PatchOperation], field: str) -> bool:
    """Tell whether a patch may change a field."""
    return any(
        place in ("", f"/{field}") or place.startswith(f"/{field}/") for op in operations for place in op.writes()
    )


class _Load:
    """What operations have carried from one place to another."""

    def __init__(self) -> None:
        self._bytes = self._values = 0

    def carry(self, document: Any, operation: PatchOperation, index: int) -> None:
        if operation.op not in _CARRIES or operation.origin is None:
            return
        value = JsonPointer(operation.origin).resolve(document)
        if isinstance(value, EndOfList):
            return  # which the library refuses
        try:
            text = orjson.dumps(value)
        except orjson.JSONEncodeError as error:
            _wrong(index, "from", f"{_named(operation.origin)} is nested too deeply", error)
        self._bytes += len(text)
        self._values += text.count(b",") + text.count(b"[") + text.count(b"{") + 1
        if self._bytes > MOST_CARRIED_BYTES or self._values > MOST_CARRIED_VALUES:
            most = f"{MOST_CARRIED_BYTES >> 20} MiB and {MOST_CARRIED_VALUES} values"
            _wrong(index, "from", f"The moves and copies of a patch carry at most {most}")


def _check_own(operation: PatchOperation, index: int, own: Collection[str]) -> None:
    for place in operation.writes():
        if place.split("/")[1:2] and place.split("/")[1] in own:
            name = "path" if place == operation.path else "from"
            detail = Detail(f"patch[{index}].{name}", "INVALID_FORMAT", f"{_named(place)} is the hub's own")
            raise HubError("VALIDATION_ERROR", details=[detail])


def _named(pointer: str) -> str:
    return pointer[:200] or "the whole"


def _refuse(index: int, code: str, message: str, cause: Exception) -> NoReturn:
    told = f"Operation {index} of the patch: {message}"
    raise HubError(code, told, details=[Detail(f"patch[{index}]", code, message)]) from cause


def _wrong(index: int, name: str, message: str, cause: Exception | None = None) -> NoReturn:
    detail = Detail(f"patch[{index}].{name}", "VALUE_OUT_OF_RANGE", message)
    raise HubError("VALIDATION_ERROR", details=[detail]) from cause
