"""The schemas of a document: of pydantic's models, each once under `components/schemas`; and those that have no model."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from core.errors import CATALOGUE

Schema = dict[str, Any]
REF = "#/components/schemas/{model}"

_TEXT: Schema = {"type": "string"}
_DETAIL: Schema = {
    "type": "object",
    "description": "What is wrong with one field.",
    "required": ["field", "code", "message"],
    "properties": {
        "field": {"type": "string", "description": "A path, such as `capabilities[2]`"},
        "code": {"type": "string"},
        "message": {"type": "string"},
    },
    "additionalProperties": False,
}
_PAGINATION: Schema = {
    "type": "object",
    "required": ["total"],
    "description": "Of a page by number: `page` and `per_page`; between cursors: `limit`, `after`, `before` and `has_more`.",
    "properties": {
        "page": {"type": "integer", "minimum": 1},
        "per_page": {"type": "integer", "minimum": 1},
        "limit": {"type": "integer", "minimum": 1},
        "after": {"anyOf": [_TEXT, {"type": "null"}], "description": "The cursor of the last"},
        "before": {"anyOf": [_TEXT, {"type": "null"}], "description": "The cursor of the first"},
        "has_more": {"type": "boolean"},
        "total": {"type": "integer", "minimum": 0, "description": "How many match"},
        "total_exact": {"type": "boolean", "description": "False where there are more than were counted"},
    },
    "additionalProperties": False,
}


class Schemas:
    """Collects the schemas that a document names."""

    def __init__(self) -> None:
        self._found: dict[str, Schema] = {
            "Error": _error(),
            "ErrorDetail": _DETAIL,
            "Pagination": _PAGINATION,
            "Problem": _problem(),
        }

    def sent(self, model: type[BaseModel]) -> Schema:
        """Return a reference to what a client sends."""
        return self._named(model, "validation")

    def shown(self, model: type[BaseModel]) -> Schema:
        """Return a reference to what is answered."""
        return self._named(model, "serialization")

    def some_of(self, model: type[BaseModel]) -> Schema:
        """Return a reference to some fields of what is answered, as a client selects them."""
        whole = self.shown(model)
        name = f"{model.__name__}Fields"
        fields = {
            key: value for key, value in self._found[model.__name__].items() if key not in ("required", "examples")
        }
        self._found[name] = {**fields, "description": f"Some fields of: {fields.get('description', model.__name__)}"}
        return {"anyOf": [whole, {"$ref": REF.format(model=name)}]}

    def part(self, model: type[BaseModel], without: frozenset[str]) -> Schema:
        """Return a reference to a model without some of its fields."""
        whole = self._written(model, "validation")
        whole["properties"] = {name: each for name, each in whole["properties"].items() if name not in without}
        if "required" in whole:
            whole["required"] = [name for name in whole["required"] if name not in without]
            if not whole["required"]:
                del whole["required"]
        return self._keep(model.__name__, whole)

    def field(self, model: type[BaseModel], name: str) -> Schema | None:
        """Return the schema of one field as a text of the query has it, None where there is no such field."""
        found = self._written(model, "validation").get("properties", {}).get(name)
        return None if found is None else _without_null(found)

    def written(self, model: type[BaseModel], *, sent: bool) -> Schema:
        """Return a model's schema itself, as clients send it or as it is answered."""
        return self._written(model, "validation" if sent else "serialization")

    def keep(self, name: str, schema: Schema) -> Schema:
        """Return a reference to `schema`, which is kept under `name`; raises LookupError where that is another's."""
        return self._keep(name, schema)

    def all(self) -> dict[str, Schema]:
        """Return what was collected, in alphabetical order."""
        return dict(sorted(self._found.items()))

    def _named(self, model: type[BaseModel], mode: Any) -> Schema:
        return self._keep(model.__name__, self._written(model, mode))

    def _keep(self, name: str, schema: Schema) -> Schema:
        if self._found.setdefault(name, schema) != schema:
            raise LookupError(f"two schemas are called {name}")
        return {"$ref": REF.format(model=name)}

    def _written(self, model: type[BaseModel], mode: Any) -> Schema:
        schema = _untitled(model.model_json_schema(mode=mode, ref_template=REF))
        for name, each in schema.pop("$defs", {}).items():
            self._keep(name, each)
        return schema


def page_of(item: Schema) -> Schema:
    """Return the schema of a list's page."""
    return {
        "type": "object",
        "required": ["data", "pagination", "links"],
        "properties": {
            "data": {"type": "array", "items": item},
            "pagination": {"$ref": REF.format(model="Pagination")},
            "links": {
                "type": "object",
                "description": "Other pages: first, prev, next, last",
                "additionalProperties": {"type": "string", "format": "uri-reference"},
            },
            "incomplete": {"type": "boolean", "description": "A part could not be asked, and is missing"},
        },
    }


def _code() -> Schema:
    return {"type": "string", "enum": [code for code, kind in CATALOGUE.items() if kind.place == "answer"]}


_DETAILS: Schema = {"type": "array", "items": {"$ref": REF.format(model="ErrorDetail")}}
_TIME: Schema = {"type": "string", "format": "date-time"}


def _problem() -> Schema:
    fields: Mapping[str, Schema] = {
        "type": {"type": "string", "format": "uri-reference"},
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": _TEXT,
        "code": _code(),
        "details": _DETAILS,
        "request_id": _TEXT,
        "timestamp": _TIME,
    }
    return {
        "type": "object",
        "description": "A refusal as problem details (RFC 9457)",
        "required": list(fields),
        "properties": fields,
    }


def _error() -> Schema:
    fields: Mapping[str, Schema] = {
        "code": _code(),
        "message": _TEXT,
        "details": _DETAILS,
        "request_id": _TEXT,
        "timestamp": _TIME,
    }
    return {
        "type": "object",
        "description": "A refusal. `GET /errors` says of every code what it means and what to do.",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": list(fields),
                "properties": fields,
                "additionalProperties": False,
            }
        },
        "additionalProperties": False,
    }


def _untitled(value: Any) -> Any:
    """Leave out the titles that pydantic makes of names; a property may be called so."""
    if isinstance(value, list):
        return [_untitled(each) for each in value]
    if not isinstance(value, dict):
        return value
    left: Schema = {}
    for key, each in value.items():
        if key == "properties":
            left[key] = {name: _untitled(schema) for name, schema in each.items()}
        elif key in ("examples", "default", "enum", "const"):
            left[key] = each
        elif not (key == "title" and isinstance(each, str)):
            left[key] = _untitled(each)
    return left


def _without_null(schema: Schema) -> Schema:
    """A query has no null: what is left out is it."""
    left = {key: each for key, each in schema.items() if not (key == "default" and each is None)}
    options = [each for each in left.get("anyOf", ()) if each != {"type": "null"}]
    if len(options) == 1:
        del left["anyOf"]
        return {**options[0], **left}
    return left
