"""What a request says beside its body: the path's, the query's and the headers' parameters; and the body."""

import re
from typing import Any

from core.errors import CATALOGUE
from handlers.resources.json_patch import MOST_OPERATIONS, PatchOperation
from handlers.resources.shown import EXAMPLE_ID, example_of
from rest.jsonapi.errors import JSONAPI
from rest.openapi import jsonapi
from rest.openapi.headers import sent
from rest.openapi.schemas import Schema, Schemas
from rest.openapi.successes import success_of
from rest.requests import JSON_PATCH
from rest.routes import Bound

# A family of names in the query, by what they begin with.
FAMILIES: dict[str, dict[str, Any]] = {
    "filter[": {
        "name": "filter",
        "style": "deepObject",
        "explode": True,
        "description": (
            "What resources must be: `filter[status]=active`, `filter[created_at][gte]=2026-01-01T00:00:00Z`, "
            "`filter[metadata.team]=support`. docs/rest.md has the operators"
        ),
        "schema": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "fields[": {
        "name": "fields[{kind}]",
        "style": "form",
        "explode": False,
        "description": "The same as `fields`, as JSON:API calls it",
        "schema": {"type": "array", "items": {"type": "string"}},
    },
}
_PARAMETER = re.compile(r"\{(\w+)\}")
_FROM_ELSEWHERE = frozenset({"id", "if_match", "channel"})
# Of what a path names otherwise than by an id.
_EXAMPLES = {"channel": "chat:lobby"}


def parameters_of(bound: Bound, schemas: Schemas) -> list[dict[str, Any]]:
    """Return the parameters of a route."""
    route, operation = bound.route, bound.operation
    named = [_in_path(name) for name in _PARAMETER.findall(route.path)]
    named += [_in_query(bound, name, schemas) for name in sorted(route.query)]
    headers = ["X-Request-Id", "X-Request-Timeout"]
    if route.takes_key and operation.takes_key:
        headers.append("Idempotency-Key")
    if "if_match" in operation.input.model_fields:
        headers.append("If-Match")
    success = success_of(bound)
    if route.method == "GET" and "ETag" in success.headers and success.is_kept:
        headers.append("If-None-Match")
        if "Last-Modified" in success.headers:
            headers.append("If-Modified-Since")
    return named + sent(*headers)


def body_of(bound: Bound, schemas: Schemas) -> dict[str, Any] | None:
    """Return the request's body, None where the route takes none."""
    route, operation = bound.route, bound.operation
    if not route.takes_body:
        return None
    model = operation.body or operation.input
    has_more = operation.body is None and not _FROM_ELSEWHERE.isdisjoint(model.model_fields)
    schema = schemas.part(model, _FROM_ELSEWHERE) if has_more else schemas.sent(model)
    content: dict[str, Any] = {"schema": schema, "examples": {"example": {"value": example_of(model)}}}
    media_types = ["application/json"]
    if route.method == "PATCH":
        media_types.append("application/merge-patch+json")
    document = jsonapi.sent_content(bound, model, _FROM_ELSEWHERE, schemas)
    files = {} if route.reads is None else route.reads.described
    patch = {JSON_PATCH: _patch(schemas)} if route.takes_patch else {}
    return {"required": True, "content": {**dict.fromkeys(media_types, content), **patch, JSONAPI: document, **files}}


def _patch(schemas: Schemas) -> dict[str, Any]:
    schema: Schema = {"type": "array", "maxItems": MOST_OPERATIONS, "items": schemas.sent(PatchOperation)}
    return {"schema": schema, "examples": {"example": {"value": [example_of(PatchOperation)]}}}


def _in_path(name: str) -> dict[str, Any]:
    # Any text is taken, and is 404 where nothing has such an id.
    schema: Schema = {"type": "string", "minLength": 1}
    example = _EXAMPLES.get(name, EXAMPLE_ID)
    return {"name": name, "in": "path", "required": True, "schema": schema, "example": example}


def _in_query(bound: Bound, name: str, schemas: Schemas) -> dict[str, Any]:
    if name in FAMILIES:
        family = FAMILIES[name]
        kind = bound.operation.name.partition(".")[0]
        return {"in": "query", **family, "name": family["name"].format(kind=kind)}
    field = bound.operation.input.model_fields.get(name)
    schema = schemas.field(bound.operation.input, name)
    if schema is None:
        raise LookupError(f"{bound.operation.name} has no {name}, and rest/openapi/parameters.py does not know it")
    written: dict[str, Any] = {"name": name, "in": "query", "schema": schema}
    if field is not None and field.is_required():
        written["required"] = True
    if schema.get("type") == "array":
        written |= {"style": "form", "explode": False}
    description = schema.pop("description", None)
    return {**written, "description": description} if description else written


def codes_in(codes: list[str]) -> str:
    """Return the codes as a line of a description."""
    return "Errors: " + ", ".join(f"`{code}` ({CATALOGUE[code].status})" for code in codes) + "."
