"""Paths that run no operation: what the hub says of itself. Written by hand, since nothing declares them; a test asks each."""

from typing import Any

from rest.openapi.headers import named
from rest.openapi.refusals import refusals_for_anybody

_TEXT: dict[str, Any] = {"type": "string"}
_KEPT = ("ETag", "Cache-Control", "Content-Encoding", "Vary", "X-Request-Id")


def _get(
    name: str,
    summary: str,
    schema: dict[str, Any],
    *,
    headers: tuple[str, ...] = ("Cache-Control", "X-Request-Id"),
    parameters: list[dict[str, Any]] | None = None,
    other: dict[str, Any] | None = None,
) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": schema}, **(other or {})}
    answers: dict[str, Any] = {"200": {"description": summary, "headers": named(*headers), "content": content}}
    written: dict[str, Any] = {"operationId": name, "summary": summary, "tags": ["hub"]}
    given = list(parameters or ())
    if "ETag" in headers:
        given.append({"$ref": "#/components/parameters/If-None-Match"})
        answers["304"] = {
            "description": "The client has this text",
            "headers": named(*(name for name in headers if name != "Content-Encoding")),
        }
    if given:
        written["parameters"] = given
    return {"get": {**written, "responses": {**answers, **refusals_for_anybody()}, "security": []}}


_STATUS = {"type": "object", "required": ["status"], "properties": {"status": _TEXT}}
_HEALTH = {"type": "object", "required": ["status"], "properties": {"status": _TEXT, "parts": {"type": "object"}}}
_CODE = {
    "type": "object",
    "required": ["code", "status", "meaning", "cure", "place"],
    "properties": {
        "code": _TEXT,
        "status": {"type": "integer"},
        "meaning": _TEXT,
        "cure": {"type": "string", "description": "What to do about it"},
        "place": {"type": "string", "enum": ["answer", "detail", "document", "execution", "frame"]},
    },
}
_CODES = {"type": "object", "required": ["data"], "properties": {"data": {"type": "array", "items": _CODE}}}
_VERSIONS = {
    "type": "object",
    "required": ["default", "versions", "policy"],
    "properties": {
        "default": _TEXT,
        "versions": {"type": "array", "items": {"type": "object"}},
        "policy": {"type": "object"},
    },
}
_WHICH = {
    "name": "version",
    "in": "query",
    "description": "Of OpenAPI",
    "schema": {"type": "string", "enum": ["3.1", "3.0"], "default": "3.1"},
}

OTHERS: dict[str, Any] = {
    "/livez": _get("hub.live", "Whether the process lives", _STATUS),
    "/readyz": _get("hub.ready", "Whether the node takes traffic", _STATUS),
    "/healthz": _get("hub.health", "How the node's parts are", _HEALTH),
    "/versions": _get("hub.versions", "Which versions there are, and how long", _VERSIONS, headers=_KEPT),
    "/errors": _get(
        "hub.errors",
        "Every error: its code, its status, what it means and what to do",
        _CODES,
        headers=_KEPT,
        other={"text/html": {"schema": _TEXT}},
    ),
    "/openapi.json": _get("hub.openapi", "This document", {"type": "object"}, headers=_KEPT, parameters=[_WHICH]),
}
