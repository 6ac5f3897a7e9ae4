"""The webhooks section: what the hub posts to a receiver, event type by event type."""

from collections.abc import Mapping
from typing import Any

from core.operations.operation import Registry
from handlers.events.notices import DeadLettered, WebhookDisabled
from handlers.resources.shown import EXAMPLE_ID, EXAMPLE_TIME, example_of
from rest.openapi.schemas import Schema, Schemas

# Kinds of resources, by how the types of their events begin.
_KINDS: Mapping[str, str] = {"agent": "agents", "knowledge": "knowledge", "twin": "twins"}
_NOTICES = {"subscription.dead_lettered": DeadLettered, "webhook.disabled": WebhookDisabled}
_TEXT: Schema = {"type": "string"}
_ID: Schema = {"type": "string", "format": "uuid"}
_GONE: Schema = {
    "type": "object",
    "required": ["id", "version"],
    "properties": {"id": _ID, "version": {"type": "integer"}},
}
_TEST: Schema = {"type": "object", "required": ["webhook_id"], "properties": {"webhook_id": _ID, "message": _TEXT}}
_HEADERS: Mapping[str, tuple[str, str]] = {
    "webhook-id": ("The event's id, the same each time that it is sent", EXAMPLE_ID),
    "webhook-timestamp": ("When this was sent, in seconds since 1970", "1767268800"),
    "webhook-signature": ("`v1,` and an HMAC in base64; two while secrets rotate", "v1,K5oZfzN95Z9UVu1EsfQm..."),
    "webhook-replayed": ("`true` where this is of a replay", "true"),
}  # fmt: skip
_ALWAYS = frozenset({"webhook-id", "webhook-timestamp", "webhook-signature"})


def webhooks_of(registry: Registry, schemas: Schemas) -> dict[str, Any]:
    """Return what is posted, by event type."""
    made: dict[str, Any] = {}
    for singular, kind in _KINDS.items():
        model = registry[f"{kind}.get"].shows
        assert model is not None  # noqa: S101 - what the document says of the operation needs it too
        whole = example_of(model)
        gone = {"id": whole["id"], "version": whole["version"]}
        for verb in ("created", "updated"):
            made[f"{singular}.{verb}"] = _posted(f"{singular}.{verb}", schemas.shown(model), whole)
        made[f"{singular}.deleted"] = _posted(f"{singular}.deleted", _GONE, gone)
    for name, notice in _NOTICES.items():
        made[name] = _posted(name, schemas.shown(notice), example_of(notice))
    test = {"webhook_id": EXAMPLE_ID, "message": "This is a test of your receiver"}
    made["webhook.test"] = _posted("webhook.test", _TEST, test, has_position=False)
    return made


def _posted(type: str, data: Schema, example: Mapping[str, Any], *, has_position: bool = True) -> dict[str, Any]:
    position: Schema = (
        {**_TEXT, "description": "Its place in the organisation's log"} if has_position else {"type": "null"}
    )
    body: Schema = {
        "type": "object",
        "required": ["type", "data", "id", "timestamp", "position"],
        "properties": {
            "type": {"const": type},
            "data": data,
            "id": _ID,
            "timestamp": {**_TEXT, "format": "date-time", "description": "When it happened"},
            "position": position,
        },
    }
    shown = {
        "type": type,
        "data": example,
        "id": EXAMPLE_ID,
        "timestamp": EXAMPLE_TIME,
        "position": "42" if has_position else None,
    }
    content = {"schema": body, "examples": {"example": {"value": shown}}}
    posted: dict[str, Any] = {
        "operationId": f"receive.{type}",
        "summary": f"`{type}`, posted to the URL of each webhook that has it among its events",
        "description": "Verify the signature, answer within 15 s, and take the same `webhook-id` once only.",
        "tags": ["webhooks"],
        "parameters": [_header(name) for name in _HEADERS],
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": {
            "2XX": {"description": "Taken: it is not sent again"},
            "410": {"description": "Nothing more is wanted: the webhook is disabled"},
            "default": {"description": "Sent again later"},
        },
        "security": [],
    }
    return {"post": posted}


def _header(name: str) -> dict[str, Any]:
    description, example = _HEADERS[name]
    return {
        "name": name,
        "in": "header",
        "required": name in _ALWAYS,
        "description": description,
        "schema": _TEXT,
        "example": example,
    }
