"""The batch path of a version: it runs no operation of its own, so that what is said of it is said here."""

from typing import Any

from handlers.resources.shown import EXAMPLE_ID, example_of
from rest.atomic.endpoint import EXTENSION, MEDIA_TYPE
from rest.batch.endpoint import LINES
from rest.batch.operations import MOST_OPERATIONS
from rest.batch.reading import BatchBody
from rest.jsonapi.errors import VERSION
from rest.openapi.headers import LIMITS, named, sent
from rest.openapi.parameters import codes_in
from rest.openapi.refusals import codes_of_batch, refusals
from rest.openapi.schemas import Schemas
from rest.routes import Version

_RESULT: dict[str, Any] = {
    "type": "object",
    "description": "What an operation was answered",
    "required": ["status", "headers", "body"],
    "properties": {
        "status": {"type": "integer", "minimum": 200, "maximum": 599},
        "headers": {"type": "object", "additionalProperties": {"type": "string"}},
        "body": {"description": "null where the answer has none"},
    },
    "additionalProperties": False,
}
_RESULTS: dict[str, Any] = {
    "type": "object",
    "required": ["results"],
    "properties": {"results": {"type": "array", "items": _RESULT}},
    "additionalProperties": False,
}
_EXAMPLE: dict[str, Any] = {
    "results": [
        {
            "status": 201,
            "headers": {"Location": f"/v2/agents/{EXAMPLE_ID}", "ETag": '"1"'},
            "body": {"id": EXAMPLE_ID, "name": "Agent 1"},
        }
    ]
}


_OPERATION: dict[str, Any] = {
    "type": "object",
    "required": ["op"],
    "properties": {
        "op": {"enum": ["add", "update", "remove"]},
        "ref": {"type": "object", "description": "The resource: `type`, and `id` or the `lid` of an earlier operation"},
        "href": {"type": "string", "description": "The path of the resource, in place of `ref`"},
        "data": {"type": "object", "description": "A resource object; with `lid` later operations can name it"},
    },
}
_DOCUMENT: dict[str, Any] = {
    "type": "object",
    "required": ["atomic:operations"],
    "properties": {
        "atomic:operations": {"type": "array", "items": _OPERATION, "minItems": 1, "maxItems": MOST_OPERATIONS}
    },
}
_BASE: dict[str, Any] = {
    "name": "Product Documentation",
    "sources": ["docs/**/*.md"],
    "metadata": {"team": "docs"},
}
_AGENT: dict[str, Any] = {
    "name": "Customer Support Agent",
    "capabilities": ["text_processing"],
    "metadata": {"team": "support"},
}
_DOCUMENT_EXAMPLE: dict[str, Any] = {
    "atomic:operations": [
        {"op": "add", "data": {"type": "knowledge", "lid": "base", "attributes": _BASE}},
        {
            "op": "add",
            "data": {
                "type": "agents",
                "attributes": _AGENT,
                "relationships": {"knowledge": {"data": [{"type": "knowledge", "lid": "base"}]}},
            },
        },
    ]
}
_RESULT_DOCUMENT: dict[str, Any] = {
    "type": "object",
    "required": ["jsonapi", "atomic:results"],
    "properties": {
        "jsonapi": {"type": "object"},
        "atomic:results": {
            "type": "array",
            "items": {"type": "object", "properties": {"data": {"type": "object"}}, "additionalProperties": False},
        },
    },
    "additionalProperties": False,
}
_RESULT_EXAMPLE: dict[str, Any] = {
    "jsonapi": {**VERSION, "ext": [EXTENSION]},
    "atomic:results": [
        {"data": {"type": "knowledge", "id": EXAMPLE_ID, "attributes": {"name": "Product Documentation"}}}
    ],
}


def atomic_of(version: Version) -> dict[str, Any]:
    """Return the path of JSON:API's atomic operations of a version."""
    codes = codes_of_batch(version)
    every = named("Cache-Control", "Vary", "X-Request-Id", *LIMITS, *version.headers)
    body = {"schema": _DOCUMENT, "examples": {"example": {"value": _DOCUMENT_EXAMPLE}}}
    answer = {"schema": _RESULT_DOCUMENT, "examples": {"example": {"value": _RESULT_EXAMPLE}}}
    written: dict[str, Any] = {
        "operationId": "atomic" if version.name == "v2" else f"{version.name}.atomic",
        "summary": "Run operations on resources in one transaction (JSON:API, Atomic Operations)",
        "description": f"Each operation needs its own scope, and counts in the limit. {codes_in(codes)}",
        "tags": ["batch"],
        "parameters": sent("X-Request-Id", "X-Request-Timeout", "Idempotency-Key"),
        "requestBody": {"required": True, "content": {MEDIA_TYPE: body}},
        "responses": {
            "200": {"description": "What each has made or changed", "headers": every, "content": {MEDIA_TYPE: answer}},
            **refusals([*codes, "RESOURCE_NOT_FOUND", "RESOURCE_CONFLICT", "INSUFFICIENT_SCOPE"]),
        },
    }
    if version.sunset is not None:
        written["deprecated"] = True
    return {"post": {**written, "security": [{"bearer": []}, {"oauth2": []}]}}


def batch_of(version: Version, schemas: Schemas) -> dict[str, Any]:
    """Return the batch path of a version."""
    codes = codes_of_batch(version)
    every = named("Cache-Control", "Vary", "X-Request-Id", *LIMITS, *version.headers)
    body = {"schema": schemas.sent(BatchBody), "examples": {"example": {"value": example_of(BatchBody)}}}
    content: dict[str, Any] = {
        "application/json": {"schema": _RESULTS, "examples": {"example": {"value": _EXAMPLE}}},
        LINES: {
            "schema": {"type": "string", "description": "Each result in a line of its own, as soon as it is known"}
        },
    }
    written: dict[str, Any] = {
        "operationId": "batch" if version.name == "v2" else f"{version.name}.batch",
        "summary": "Run many operations, one after the other or all in one transaction",
        "description": f"Each operation needs its own scope, and counts in the limit. {codes_in(codes)}",
        "tags": ["batch"],
        "parameters": sent("X-Request-Id", "X-Request-Timeout", "Idempotency-Key"),
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": {
            "200": {
                "description": "What each operation was answered, in their order",
                "headers": every,
                "content": content,
            },
            **refusals(codes),
        },
    }
    if version.sunset is not None:
        written["deprecated"] = True
    return {"post": {**written, "security": [{"bearer": []}, {"oauth2": []}]}}
