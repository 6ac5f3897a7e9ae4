"""The document: one path after the other, in the order of versions and routes, from what is declared."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from core.auth.caller import ALL_SCOPES
from core.operations.operation import Registry
from rest.atomic.endpoint import PATH as OPERATIONS
from rest.batch.batches import PATH as BATCH
from rest.openapi.batch import atomic_of, batch_of
from rest.openapi.headers import ANSWERED, SENT
from rest.openapi.jsonapi import ERRORS, ERRORS_NAME
from rest.openapi.others import OTHERS
from rest.openapi.parameters import body_of, codes_in, parameters_of
from rest.openapi.refusals import answers_by_status, codes_of, refusals
from rest.openapi.schemas import Schemas
from rest.openapi.sharing import share
from rest.openapi.successes import answers_of, operation_id
from rest.openapi.webhooks import webhooks_of
from rest.routes import Bound, Version

OPENAPI = "3.1.1"
# Of the API, not of the release: the first number changes when a client of before could not cope.
API_VERSION = "2.0.0"
_DESCRIPTION = (
    "JSON over HTTP. A path without a version means the one that the header `API-Version` names, else v2. Errors are told as one "
    "object everywhere; `GET /errors` lists their codes. The stream, `GET /v2/stream`, has a document of its own: `/asyncapi.json`."
    " With `X-Hub-Debug`, a token of the caller's organisation with `hub:admin`, an answer has its detail in `X-Debug`."
)
_TAGS: Mapping[str, str] = {
    "agents": "Agents: what answers",
    "executions": "Runs of agents",
    "sessions": "Conversations with agents",
    "knowledge": "Knowledge bases: what agents answer from",
    "documents": "Documents of knowledge bases",
    "knowledge_queries": "What knowledge bases were asked",
    "twins": "Digital twins",
    "simulations": "Simulations of twins",
    "scenarios": "What can be simulated",
    "branches": "Twins as they could be",
    "sync": "Where the data of twins comes from",
    "relationships": "What twins are of each other",
    "telemetry": "What twins measure",
    "alerts": "Rules of twins, and where they stand",
    "events": "The log: everything that has happened to resources, and what applications append",
    "event-types": "Types of events, with their schemas",
    "audit": "Who did what",
    "keys": "API keys of the organisation",
    "tokens": "Tokens for the organisation's own users",
    "tickets": "Tickets that open a stream from a browser",
    "connections": "Open streams",
    "channels": "Live rooms, for those who have no socket",
    "jobs": "What the hub does by itself for the organisation",
    "subscriptions": "Durable subscriptions: the log, handed out until it is acknowledged",
    "dead_letters": "What a subscription gave up",
    "replays": "Parts of the log that are delivered once more",
    "webhooks": "Events posted to URLs of the organisation's own",
    "webhook_deliveries": "What was sent to webhooks, and is to be",
    "namespaces": "What goes for the channels of each namespace",
    "chats": "Chats, and who looks after them",
    "batch": "Many operations in one request",
    "hub": "The hub itself; these need no credential",
}


def document(registry: Registry, versions: Sequence[Version]) -> dict[str, Any]:
    """Return the document of these versions, as OpenAPI 3.1.

    Raises LookupError where a route or an operation lacks what is to be said of it.
    """
    schemas = Schemas()
    schemas.keep(ERRORS_NAME, ERRORS)
    paths: dict[str, Any] = {}
    for version in versions:
        for route in version.routes:
            bound = Bound(route, registry[route.operation])
            paths.setdefault(f"{version.prefix}{route.path}", {})[route.method.lower()] = _operation(
                bound, version, schemas
            )
        if version.has_batch:
            paths[f"{version.prefix}{BATCH}"] = batch_of(version, schemas)
            paths[f"{version.prefix}{OPERATIONS}"] = atomic_of(version)
    paths |= deepcopy(OTHERS)
    sent = webhooks_of(registry, schemas)
    components = {
        "schemas": schemas.all(),
        "responses": answers_by_status(),
        "parameters": {**SENT},
        "headers": ANSWERED,
        "securitySchemes": _security(),
    }
    share(paths, components)
    return {
        "openapi": OPENAPI,
        "info": {
            "title": "AIMatrix Hub",
            "version": API_VERSION,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": _tags(paths),
        "paths": paths,
        "webhooks": sent,
        "components": components,
    }


def _operation(bound: Bound, version: Version, schemas: Schemas) -> dict[str, Any]:
    operation = bound.operation
    codes = codes_of(bound, version)
    scope = f"Needs the scope `{operation.scope}`. " if operation.scope else ""
    if not operation.summary:
        raise LookupError(f"{operation.name} has no summary")
    written: dict[str, Any] = {
        "operationId": operation_id(version, operation.name),
        "summary": operation.summary.rstrip("."),
        "description": f"{scope}{codes_in(codes)}",
        "tags": [operation.name.partition(".")[0]],
        "parameters": parameters_of(bound, schemas),
    }
    body = body_of(bound, schemas)
    if body is not None:
        written["requestBody"] = body
    written["responses"] = {**answers_of(bound, version, schemas), **refusals(codes)}
    if version.sunset is not None:
        written["deprecated"] = True
    written["security"] = [{"bearer": []}, {"oauth2": [operation.scope] if operation.scope else []}]
    return written


def _tags(paths: Mapping[str, Any]) -> list[dict[str, str]]:
    used = {tag for methods in paths.values() for operation in methods.values() for tag in operation["tags"]}
    missing = used - set(_TAGS)
    if missing:
        raise LookupError(f"rest/openapi/document.py does not say what {', '.join(sorted(missing))} are")
    return [{"name": name, "description": text} for name, text in _TAGS.items() if name in used]


def _security() -> dict[str, Any]:
    scopes = {
        scope: f"{scope.partition(':')[0].capitalize()} {scope.partition(':')[2]}" for scope in sorted(ALL_SCOPES)
    }
    flow = {
        "authorizationUrl": "https://auth.aimatrix.com/oauth/authorize",
        "tokenUrl": "https://auth.aimatrix.com/oauth/token",
        "scopes": scopes,
    }
    return {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key (`aim_live_...`), or a token of the configured issuer or of `POST /v2/tokens`",
        },
        "oauth2": {
            "type": "oauth2",
            "description": "Tokens (RS256) of the configured issuer; the hub issues none by this flow itself",
            "flows": {"authorizationCode": flow},
        },
    }
