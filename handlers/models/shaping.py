"""A text as an object of a JSON Schema, by plain rules: it becomes the first text that is asked for, the rest is empty. No I/O."""

from collections.abc import Mapping
from typing import Any, cast

import orjson

_DEEPEST = 8
_EMPTY: Mapping[str, Any] = {"string": "", "number": 0, "integer": 0, "boolean": False, "array": [], "null": None}


def shaped(text: str, schema: Mapping[str, Any]) -> str:
    """Return JSON for `schema`; what it demands beyond types, names and choices is not looked at."""
    return orjson.dumps(_Shaping(text).value(schema, 0)).decode()


class _Shaping:
    def __init__(self, text: str) -> None:
        self._text: str | None = text

    def value(self, schema: Any, depth: int) -> Any:
        if not isinstance(schema, Mapping) or depth > _DEEPEST:
            return None
        known = cast("Mapping[str, Any]", schema)
        for key in ("const", "default"):
            if key in known:
                return known[key]
        if known.get("enum"):
            return self._chosen(known["enum"])
        kind = known.get("type")
        if isinstance(kind, list):
            kind = cast("list[Any]", kind)[0] if kind else None
        if kind == "object" or (kind is None and "properties" in known) or (kind is None and not depth):
            return self._object(known, depth)
        if kind == "string" and self._text is not None:
            text, self._text = self._text, None
            return text
        return _EMPTY.get(str(kind))

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties")
        if not isinstance(properties, Mapping) or not properties:
            return {} if depth else {"text": self._text}
        return {str(name): self.value(each, depth + 1) for name, each in cast("Mapping[str, Any]", properties).items()}

    def _chosen(self, choices: Any) -> Any:
        """Return the choice that the text names, else the first."""
        said = (self._text or "").lower()
        named = (choice for choice in choices if isinstance(choice, str) and choice and choice.lower() in said)
        return next(named, choices[0])
