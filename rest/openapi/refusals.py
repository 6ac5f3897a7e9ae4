"""Which errors an operation can be answered with, and the answers of each status as components of a document."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import orjson

from core.errors import CATALOGUE, Detail, HubError
from rest.asked import ErrorForm
from rest.forms import PLAIN, PROBLEM, PROBLEMS
from rest.jsonapi.errors import JSONAPI, JsonApiErrors
from rest.openapi import jsonapi
from rest.openapi.headers import DEBUGGED, named
from rest.openapi.schemas import REF
from rest.routes import Bound, Version

_ALWAYS = [
    "BAD_REQUEST",
    "UNKNOWN_PARAMETER",
    "AUTHENTICATION_REQUIRED",
    "INVALID_API_KEY",
    "INVALID_TOKEN",
    "EXPIRED_TOKEN",
    "FORBIDDEN",
    "NOT_ACCEPTABLE",
    "UNSUPPORTED_MEDIA_TYPE",
    "VALIDATION_ERROR",
    "RATE_LIMIT_EXCEEDED",
    "INTERNAL_ERROR",
    "SERVICE_UNAVAILABLE",
    "TIMEOUT",
]
# What the handlers refuse by beside these. All stand here: of one that does not, nobody has looked what it raises.
_KINDS = ("agents", "knowledge", "twins")
_VERBS = ("list", "create", "get", "replace", "update", "delete")
_OF_CHATS = ("MUTED", "BANNED", "RESOURCE_CONFLICT", "RESOURCE_LOCKED", "PAYLOAD_TOO_LARGE")
_OWN: Mapping[str, tuple[str, ...]] = {
    **{f"{kind}.{verb}": () for kind in _KINDS for verb in _VERBS},
    **{f"{kind}.update": ("PATCH_TEST_FAILED",) for kind in _KINDS},
    **{f"twins.{verb}": () for verb in ("difference", "neighbours", "paths", "subtree")},
    **{f"keys.{verb}": () for verb in ("list", "create", "get", "update", "delete")},
    **{f"events.{verb}": () for verb in ("list", "get", "of_agents", "of_knowledge", "of_twins")},
    "events.append": ("RESOURCE_CONFLICT",),
    **{f"event-types.{verb}": () for verb in ("list", "get", "delete")},
    "event-types.register": ("RESOURCE_CONFLICT",),
    "audit.list": (),
    "keys.rotate": ("RESOURCE_CONFLICT",),
    "tokens.create": (),
    "tickets.create": (),
    **{f"subscriptions.{verb}": () for verb in ("list", "get", "pull", "ack", "nack", "extend")},
    **{f"subscriptions.{verb}": ("RESOURCE_CONFLICT",) for verb in ("create", "update", "delete", "pause", "resume")},
    **{f"dead_letters.{verb}": () for verb in ("list", "get", "redrive", "purge")},
    **{f"replays.{verb}": () for verb in ("list", "get")},
    **{f"replays.{verb}": ("RESOURCE_CONFLICT",) for verb in ("create", "pause", "resume", "cancel")},
    "channels.publish": ("INSUFFICIENT_SCOPE", "CHANNEL_NOT_FOUND"),
    **{f"channels.{verb}": ("INSUFFICIENT_SCOPE", "CHANNEL_NOT_FOUND") for verb in ("history", "presence")},
    **{f"connections.{verb}": () for verb in ("list", "get", "delete")},
    "jobs.list": (),
    "jobs.get": (),
    "jobs.cancel": ("RESOURCE_CONFLICT",),
    **{f"webhooks.{verb}": () for verb in ("list", "get", "create", "update", "delete", "rotate")},
    **{f"webhooks.{verb}": () for verb in ("pause", "enable", "test")},
    **{f"documents.{verb}": () for verb in ("list", "get", "update", "delete", "versions")},
    "documents.create": ("PAYLOAD_TOO_LARGE",),
    "documents.manifest": ("PAYLOAD_TOO_LARGE",),
    "documents.refresh": ("RESOURCE_CONFLICT",),
    **{f"knowledge.{verb}": () for verb in ("query", "query_all", "statistics", "evaluate")},
    **{f"knowledge_queries.{verb}": () for verb in ("list", "judge")},
    **{f"sessions.{verb}": () for verb in ("list", "create", "get", "delete", "messages")},
    "sessions.update": (),
    **{f"sessions.{verb}": ("RESOURCE_CONFLICT",) for verb in ("send", "retry", "cancel")},
    **{f"agents.{verb}": ("RESOURCE_NOT_FOUND",) for verb in ("execute", "execute_input")},
    **{f"executions.{verb}": () for verb in ("list", "of_agent", "get", "steps", "cancel")},
    "executions.answer": ("RESOURCE_CONFLICT",),
    **{f"simulations.{verb}": () for verb in ("begin", "list", "of_twin", "get", "cancel")},
    "simulations.plot": ("RESOURCE_CONFLICT",),
    "scenarios.list": (),
    **{f"telemetry.{verb}": () for verb in ("append", "append_many", "query", "latest")},
    "alerts.list": (),
    **{f"branches.{verb}": () for verb in ("list", "get", "delete", "diff", "simulate")},
    "branches.create": ("RESOURCE_CONFLICT",),
    "branches.update": ("PATCH_TEST_FAILED", "RESOURCE_CONFLICT"),
    "branches.apply": ("RESOURCE_CONFLICT",),
    "sync.get": (),
    "sync.run": ("RESOURCE_CONFLICT",),
    **{f"namespaces.{verb}": () for verb in ("list", "get")},
    **{f"namespaces.{verb}": ("RESOURCE_CONFLICT",) for verb in ("replace", "update", "delete")},
    **{f"chats.{verb}": _OF_CHATS for verb in ("edit", "delete")},
    **{f"chats.{verb}": ("RESOURCE_CONFLICT",) for verb in ("mute", "ban")},
    **{f"chats.{verb}": () for verb in ("sanctions", "lift")},
    **{f"webhook_deliveries.{verb}": () for verb in ("list", "resend")},
}
_FOR_ANYBODY = ["BAD_REQUEST", "UNKNOWN_PARAMETER", "VALIDATION_ERROR", "INTERNAL_ERROR", "SERVICE_UNAVAILABLE"]
_NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
_OWN_HEADERS = {401: ("WWW-Authenticate",), 405: ("Allow",), 429: ("Retry-After",), 503: ("Retry-After",)}


def codes_of(bound: Bound, version: Version) -> list[str]:
    """Return the codes that an operation can be refused with, in the order of the catalogue.

    Raises LookupError for an operation of which this file does not say what it refuses by.
    """
    route, operation = bound.route, bound.operation
    own = _OWN.get(operation.name)
    if own is None:
        raise LookupError(f"rest/openapi/refusals.py does not say what {operation.name} refuses by")
    codes = {*_ALWAYS, *own}
    if operation.scope is not None:
        codes.add("INSUFFICIENT_SCOPE")
    if "{" in route.path:
        codes.add("RESOURCE_NOT_FOUND")
    if "if_match" in operation.input.model_fields:
        codes.add("PRECONDITION_FAILED")
    if route.takes_body:
        codes.add("PAYLOAD_TOO_LARGE")
        codes.add("RESOURCE_CONFLICT")  # as JSON:API: of another type, or with another id
    if operation.transaction != "read":
        codes.add("RESOURCE_LOCKED")
    if route.takes_key and operation.takes_key:
        codes.add("IDEMPOTENCY_KEY_REUSED")
    if version.sunset is not None:
        codes.add("VERSION_GONE")
    return [code for code in CATALOGUE if code in codes]


def codes_of_batch(version: Version) -> list[str]:
    """Return the codes that a batch as a whole can be refused with; its operations have their own."""
    codes = {*_ALWAYS, "PAYLOAD_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE"}
    if version.sunset is not None:
        codes.add("VERSION_GONE")
    return [code for code in CATALOGUE if code in codes]


def refusals(codes: Iterable[str]) -> dict[str, Any]:
    """Return references to the answers with these codes, by status."""
    statuses = sorted({CATALOGUE[code].status for code in codes})
    return {str(status): {"$ref": f"#/components/responses/{_name(status)}"} for status in statuses}


def refusals_for_anybody() -> dict[str, Any]:
    """Return the refusals of what needs no credential."""
    return refusals(_FOR_ANYBODY)


def answers_by_status() -> dict[str, Any]:
    """Return an answer for each status of the catalogue, with the codes that it stands for."""
    return {_name(status): _answer(status) for status in sorted({kind.status for kind in CATALOGUE.values()})}


def _answer(status: int) -> dict[str, Any]:
    kinds = [kind for kind in CATALOGUE.values() if kind.status == status and kind.place == "answer"]
    code: dict[str, Any] = {"enum": [kind.code for kind in kinds]}
    return {
        "description": " ".join(f"`{kind.code}`: {kind.message}." for kind in kinds),
        "headers": named("X-Request-Id", "Vary", *DEBUGGED, *_OWN_HEADERS.get(status, ())),
        "content": {
            "application/json": {
                "schema": {
                    "allOf": [
                        {"$ref": REF.format(model="Error")},
                        {"properties": {"error": {"properties": {"code": code}}}},
                    ]
                },
                "example": _written_by(PLAIN, kinds[0].code),
            },
            JSONAPI: {
                "schema": {"$ref": REF.format(model=jsonapi.ERRORS_NAME)},
                "example": _written_by(JsonApiErrors(), kinds[0].code),
            },
            PROBLEM: {
                "schema": {"$ref": REF.format(model="Problem")},
                "example": _written_by(PROBLEMS, kinds[0].code),
            },
        },
    }


def _written_by(form: ErrorForm, code: str) -> Any:
    detail = Detail("name", "MISSING_REQUIRED_FIELD", "Field required")
    error = HubError(code, details=[detail] if code == "VALIDATION_ERROR" else [])
    return orjson.loads(form.error(error, "req_0123456789abcdef00000001", _NOON))


def _name(status: int) -> str:
    return HTTPStatus(status).phrase.replace(" ", "").replace("-", "")
