"""The batch path of a version: it runs no operation of its own, so that what is said of it is said here."""

from typing import Any

from handlers.resources.shown import EXAMPLE_ID, example_of
from rest.batch.endpoint import LINES
from rest.batch.reading import BatchBody
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
