"""An exported knowledge base: NDJSON, one JSON object a line. No I/O.

{"format": "aimatrix.knowledge/1", "knowledge": {...}}      the base, as it is created; first
{"document": {"name", "content" or "content_base64", ...}}  one a document, as it is created; in the order of names
{"end": {"documents": 2}}                                   last: without it the export was cut off
"""

from collections.abc import Mapping
from typing import Any

import orjson

from core import strict_json
from core.errors import Detail, HubError

FORMAT = "aimatrix.knowledge/1"
MEDIA_TYPE = "application/x-ndjson"
# What of a base is created anew elsewhere; the rest is the hub's.
BASE_FIELDS = ("name", "type", "status", "source", "sources", "data", "metadata")
# What of a document is: the rest, as its hash and its title, is told by its content.
DOCUMENT_FIELDS = ("name", "content_type", "metadata", "content", "content_base64")


def first_line(document: str) -> bytes:
    """Return the line of a base, of its JSON document."""
    fields = orjson.loads(document)
    kept = {name: fields[name] for name in BASE_FIELDS if name in fields}
    return orjson.dumps({"format": FORMAT, "knowledge": kept}) + b"\n"


def last_line(documents: int) -> bytes:
    """Return the line that says that all is there."""
    return orjson.dumps({"end": {"documents": documents}}) + b"\n"


class Reading:
    """Takes the lines of an import in their order, and checks that they are one export, whole.

    `line(...)` returns what a line asks for; after the last line `end()` is called. Both raise HubError VALIDATION_ERROR, which
    names the line.
    """

    def __init__(self) -> None:
        self._number = 0
        self._documents = 0
        self._is_over = False

    def line(self, text: bytes) -> tuple[str, Mapping[str, Any]] | None:
        """Return `("knowledge", fields)` of the first line, `("document", fields)` of others, None of the last."""
        self._number += 1
        if self._is_over:
            raise self._wrong("Nothing follows the line that ends an export")
        held = self._object(text)
        if self._number == 1:
            return "knowledge", self._base(held)
        if "end" in held:
            self._end(held["end"])
            return None
        self._documents += 1
        return "document", self._document(held)

    def end(self) -> None:
        """Look whether all lines were there."""
        if not self._is_over:
            self._number += 1
            raise self._wrong("The export is cut off: its last line is not there")

    def _base(self, held: Mapping[str, Any]) -> Mapping[str, Any]:
        if held.get("format") != FORMAT or not isinstance(held.get("knowledge"), dict):
            raise self._wrong(f'The first line is {{"format": "{FORMAT}", "knowledge": {{...}}}}')
        base: dict[str, Any] = held["knowledge"]
        return {name: base[name] for name in BASE_FIELDS if name in base}

    def _document(self, held: Mapping[str, Any]) -> Mapping[str, Any]:
        document = held.get("document")
        if not isinstance(document, dict):
            raise self._wrong('Each line but the first and the last is {"document": {...}}')
        fields: dict[str, Any] = document
        return {name: fields[name] for name in DOCUMENT_FIELDS if fields.get(name) is not None}

    def _end(self, said: Any) -> None:
        expected = said.get("documents") if isinstance(said, dict) else None
        if expected != self._documents:
            raise self._wrong(f"{self._documents} documents came, and the export says that it has {expected}")
        self._is_over = True

    def _object(self, text: bytes) -> dict[str, Any]:
        try:
            held = strict_json.loads(text)
        except orjson.JSONDecodeError as error:
            raise self._wrong(f"It is not valid JSON: {error.msg}, column {error.colno}") from error
        if not isinstance(held, dict):
            raise self._wrong("It is no JSON object")
        return held  # pyright: ignore[reportUnknownVariableType] - JSON's objects have string keys

    def _wrong(self, message: str) -> HubError:
        return HubError("VALIDATION_ERROR", details=[Detail(f"lines[{self._number - 1}]", "INVALID_FORMAT", message)])
