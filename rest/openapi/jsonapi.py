"""What a route takes and answers as JSON:API: the same fields as in the plain form, in resource objects."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from handlers.resources.shown import EXAMPLE_ID, example_of
from rest.jsonapi.errors import VERSION
from rest.jsonapi.kinds import RELATIONSHIPS, kind_of, shown
from rest.openapi.schemas import Schema, Schemas
from rest.routes import Bound, Version

_TEXT: Schema = {"type": "string"}
_META: Schema = {"type": "object"}
_LINKS: Schema = {"type": "object", "additionalProperties": {"type": "string", "format": "uri-reference"}}
_JSONAPI: Schema = {"type": "object", "required": ["version"], "properties": {"version": _TEXT}}
# What components/schemas calls the next.
ERRORS_NAME = "JsonApiErrors"
ERRORS: Schema = {
    "type": "object",
    "required": ["jsonapi", "errors"],
    "properties": {
        "jsonapi": _JSONAPI,
        "errors": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["status", "code", "title", "detail"],
                "properties": {
                    **dict.fromkeys(("status", "code", "title", "detail"), _TEXT),
                    "source": {
                        "type": "object",
                        "properties": dict.fromkeys(("pointer", "parameter", "header"), _TEXT),
                        "additionalProperties": False,
                    },
                    "links": _LINKS,
                    "meta": _META,
                },
                "additionalProperties": False,
            },
        },
        "meta": _META,
    },
    "additionalProperties": False,
}


def sent_content(bound: Bound, model: type[BaseModel], without: frozenset[str], schemas: Schemas) -> dict[str, Any]:
    """Return what a route takes as a document: a new resource without an id, or a change with the id of the path."""
    has_id = "{id}" in bound.route.path
    whole = _without(schemas.written(model, sent=True), without)
    fields, related = _fields(whole, bound.kind)
    data: Schema = {
        "type": "object",
        "required": ["type", *(["id"] if has_id else ()), *(["attributes"] if _has_to_be(fields) else ())],
        "properties": {"type": {"const": bound.kind}, "id": _TEXT if has_id else {"not": {}}, "attributes": fields},
    }
    if related is not None:
        data["properties"]["relationships"] = related
    schema: Schema = {"type": "object", "required": ["data"], "properties": {"data": data}}
    kept = schemas.keep(f"{model.__name__}{'WithId' if has_id else ''}Document", schema)
    return {"schema": kept, "examples": {"example": {"value": {"data": _example(bound, example_of(model), has_id)}}}}


def answered_content(bound: Bound, version: Version, schemas: Schemas, *, is_page: bool) -> dict[str, Any]:
    """Return what a route answers as a document; what has no id is `meta`."""
    model = bound.operation.shows
    if model is None:
        raise LookupError(f"{bound.operation.name} does not say what it shows")
    properties: dict[str, Schema] = {"jsonapi": _JSONAPI, "links": _LINKS}
    if "id" not in model.model_fields:
        named: dict[str, Any] = {"meta": example_of(model)}
        properties["meta"] = schemas.shown(model)
    else:
        one = _resource(bound, model, schemas)
        is_there = any(route.path == f"/{bound.kind}/{{id}}" for route in version.routes)
        kind = kind_of(bound.kind, model, version.prefix if is_there else None)
        example = kind.resource(example_of(model))
        named = {"data": [example] if is_page else example}
        properties |= {"data": {"type": "array", "items": one} if is_page else one, "meta": _META}
        if kind.relationships:
            properties["included"] = {"type": "array", "items": {"type": "object"}}
    schema: Schema = {
        "type": "object",
        "required": ["jsonapi", *named],
        "properties": properties,
        "additionalProperties": False,
    }
    kept = schemas.keep(f"{model.__name__}{'Page' if is_page else ''}Document", schema)
    return {"schema": kept, "examples": {"example": {"value": {"jsonapi": VERSION, **named}}}}


def _resource(bound: Bound, model: type[BaseModel], schemas: Schemas) -> Schema:
    fields, related = _fields(schemas.written(model, sent=False), bound.kind)
    fields = {key: value for key, value in fields.items() if key not in ("required", "anyOf")}
    properties: dict[str, Schema] = {
        "type": {"const": bound.kind},
        "id": _TEXT,
        "attributes": fields,
        "links": _LINKS,
    }
    if related is not None:
        properties["relationships"] = related
    schema: Schema = {
        "type": "object",
        "description": "A resource object; with `fields[<type>]` some attributes and relationships of it",
        "required": ["type", "id", "attributes"],
        "properties": properties,
        "additionalProperties": False,
    }
    return schemas.keep(f"{model.__name__}Resource", schema)


def _fields(whole: Schema, type: str) -> tuple[Schema, Schema | None]:
    """Take a schema apart: its attributes, and its relationships where there are any."""
    names = RELATIONSHIPS.get(type, {})
    properties: Mapping[str, Schema] = whole["properties"]
    attributes = {
        **{key: value for key, value in whole.items() if key not in ("examples", "description")},
        "properties": {shown(name): each for name, each in properties.items() if name not in {"id", *names}},
    }
    required = [shown(name) for name in whole.get("required", ()) if name not in {"id", *names}]
    if "anyOf" in whole:
        attributes["anyOf"] = [_with_shown_names(each) for each in whole["anyOf"]]
    if required:
        attributes["required"] = required
    else:
        attributes.pop("required", None)
    related = {name: _relationship(properties[name], to) for name, to in names.items() if name in properties}
    if not related:
        return attributes, None
    return attributes, {"type": "object", "properties": related, "additionalProperties": False}


def _with_shown_names(condition: Schema) -> Schema:
    """Return what a schema asks for, of fields as JSON:API calls them."""
    written = dict(condition)
    if "required" in condition:
        written["required"] = [shown(name) for name in condition["required"]]
    if "properties" in condition:
        written["properties"] = {shown(name): each for name, each in condition["properties"].items()}
    if "not" in condition:
        written["not"] = _with_shown_names(condition["not"])
    return written


def _has_to_be(fields: Schema) -> bool:
    """Tell whether there is a field that none can be without: one, or one of several."""
    return "required" in fields or any("required" in each for each in fields.get("anyOf", ()))


def _relationship(ids: Schema, type: str) -> Schema:
    array = next(each for each in (ids, *ids.get("anyOf", ())) if each.get("type") == "array")
    identifier: Schema = {
        "type": "object",
        "required": ["type", "id"],
        "properties": {"type": {"const": type}, "id": array["items"]},
    }
    linkage = {key: value for key, value in array.items() if key not in ("default", "items")}
    return {"type": "object", "required": ["data"], "properties": {"data": {**linkage, "items": identifier}}}


def _without(whole: Schema, names: frozenset[str]) -> Schema:
    left = {**whole, "properties": {key: each for key, each in whole["properties"].items() if key not in names}}
    left["required"] = [name for name in whole.get("required", ()) if name not in names]
    return left


def _example(bound: Bound, fields: Mapping[str, Any], has_id: bool) -> dict[str, Any]:
    kind = kind_of(bound.kind, bound.operation.shows, None)
    made = kind.resource({"id": EXAMPLE_ID, **fields})
    return made if has_id else {key: value for key, value in made.items() if key != "id"}
