"""References: how a later operation of a batch names what an earlier one was answered.

    {"$ref": "0.body.id"}           as a value anywhere in a body, as a header, or as the whole path
    /v2/agents/{0.body.id}          within a path or a header

A reference is `<operation>.status`, `<operation>.headers.<name>` or `<operation>.body`, then members and places of arrays behind
dots. An object whose `$ref` is anything else, such as one of JSON Schema, is left as it is.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson
from multidict import CIMultiDict

from core.errors import Detail, HubError
from core.operations.validation import MOST_LEVELS
from rest.asked import Answer
from rest.batch.operations import BatchOperation
from rest.requests import MAX_BODY_BYTES, MOST_VALUES, most_values

_FORM = r"(0|[1-9][0-9]?)\.(status|headers|body)((?:\.[^.{}]+)*)"
_WHOLE = re.compile(_FORM)
_WITHIN = re.compile(rf"\{{{_FORM}\}}")
_MEMBER = "$ref"
# A body is one of the batch's values: what is deeper than any operation takes is not looked into.
_DEEPEST = MOST_LEVELS + 2
_NOTHING = object()


@dataclass(frozen=True, slots=True)
class Reference:
    """A place in the result of the operation `index`."""

    index: int
    part: str
    steps: tuple[str, ...]

    @classmethod
    def of(cls, match: re.Match[str]) -> "Reference":
        """Return what was matched."""
        return cls(int(match[1]), match[2], tuple(match[3].split(".")[1:]))

    def __str__(self) -> str:
        return ".".join((str(self.index), self.part, *self.steps))


def references_of(operation: BatchOperation) -> list[Reference]:
    """Return the references in an operation."""
    return [
        *_in_text(operation.path),
        *(found for value in operation.headers.values() for found in _in_text(value)),
        *_in_value(operation.body, _DEEPEST),
    ]


def is_reference(value: Any) -> bool:
    """Tell whether a value is a reference as a whole."""
    return _reference(value) is not None


class Results:
    """What operations were answered, as far as others name it: by `named`, the indexes."""

    def __init__(self, named: Collection[int]) -> None:
        self._named = frozenset(named)
        self._kept: dict[int, Mapping[str, Any]] = {}

    def keep(self, index: int, answer: Answer) -> None:
        """Remember an answer that was no refusal."""
        if index in self._named:
            body = orjson.loads(answer.body) if answer.body else None
            self._kept[index] = {"status": answer.status, "headers": CIMultiDict(answer.headers), "body": body}

    def forget(self, index: int) -> None:
        """Take back an answer of what was undone."""
        self._kept.pop(index, None)

    def resolved(self, operation: BatchOperation) -> BatchOperation:
        """Return an operation with values in place of references.

        Raises HubError FAILED_DEPENDENCY where a named operation was refused, VALIDATION_ERROR where a result lacks what is named,
        PAYLOAD_TOO_LARGE where the body becomes larger than any may be.
        """
        filling = _Filling(self._kept)
        return BatchOperation(
            operation.method,
            filling.text(operation.path, escaped=True),
            {name: filling.text(value, escaped=False) for name, value in operation.headers.items()},
            filling.value(operation.body, _DEEPEST),
        )


class _Filling:
    """Puts values in place of one operation's references; a few bytes may name megabytes, so what is put in is bounded."""

    def __init__(self, kept: Mapping[int, Mapping[str, Any]]) -> None:
        self._kept = kept
        self._bytes = self._values = 0

    def text(self, value: Any, *, escaped: bool) -> str:
        whole = _reference(value)
        if whole is not None:
            return self._text_of(whole)

        def put(match: re.Match[str]) -> str:
            text = self._text_of(Reference.of(match))
            return quote(text, safe="") if escaped else text

        return _WITHIN.sub(put, value)

    def value(self, value: Any, depth: int) -> Any:
        reference = _reference(value)
        if reference is not None:
            return self._found(reference)
        if depth and isinstance(value, dict):
            members: dict[str, Any] = value
            return {name: self.value(each, depth - 1) for name, each in members.items()}
        if depth and isinstance(value, list):
            items: list[Any] = value
            return [self.value(each, depth - 1) for each in items]
        return value

    def _text_of(self, reference: Reference) -> str:
        found = self._found(reference)
        if isinstance(found, str):
            return found
        if isinstance(found, int) and not isinstance(found, bool):
            return str(found)
        raise _refused(reference, "is no text and no integer")

    def _found(self, reference: Reference) -> Any:
        result = self._kept.get(reference.index)
        if result is None:
            raise HubError(
                "FAILED_DEPENDENCY", f"Operation {reference.index} was refused, and this one names its result"
            )
        value: Any = result[reference.part]
        for step in reference.steps:
            value = _step(value, step)
        if value is _NOTHING or isinstance(value, CIMultiDict):
            raise _refused(reference, "is not there")
        self._count(value)
        return value

    def _count(self, value: Any) -> None:
        text = orjson.dumps(value)
        self._bytes += len(text)
        self._values += most_values(text)
        if self._bytes > MAX_BODY_BYTES or self._values > MOST_VALUES:
            raise HubError("PAYLOAD_TOO_LARGE", "What the references name is larger than a body may be")


def _step(value: Any, step: str) -> Any:
    if isinstance(value, Mapping):
        members: Mapping[str, Any] = value
        return members.get(step, _NOTHING)
    if isinstance(value, list) and step.isascii() and step.isdigit() and len(step) < 10:
        items: list[Any] = value
        return items[int(step)] if int(step) < len(items) else _NOTHING
    return _NOTHING


def _reference(value: Any) -> Reference | None:
    if not isinstance(value, dict) or len(value) != 1:  # pyright: ignore[reportUnknownArgumentType] - JSON's object
        return None
    text = value.get(_MEMBER)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    matched = _WHOLE.fullmatch(text) if isinstance(text, str) else None
    return None if matched is None else Reference.of(matched)


def _in_text(value: Any) -> Iterator[Reference]:
    whole = _reference(value)
    if whole is not None:
        yield whole
    elif isinstance(value, str) and "{" in value:
        yield from map(Reference.of, _WITHIN.finditer(value))


def _in_value(value: Any, depth: int) -> Iterator[Reference]:
    if type(value) not in (dict, list) or not depth:
        return
    whole = _reference(value)
    if whole is not None:
        yield whole
        return
    for each in value.values() if isinstance(value, dict) else value:  # pyright: ignore[reportUnknownVariableType] - JSON
        yield from _in_value(each, depth - 1)


def _refused(reference: Reference, what: str) -> HubError:
    return HubError("VALIDATION_ERROR", details=[Detail(_MEMBER, "INVALID_FORMAT", f"{reference} {what}")])
