"""What the schemas of frames are made of: their parts by name, and the ways to put them together (schemas.py)."""

from collections.abc import Mapping
from typing import Any

from core.errors import CATALOGUE
from hub.stream import presence_schemas
from hub.stream.members import MAX_OFFSET, MOST_IN_FLIGHT
from hub.stream.protocol import Limits
from hub.stream.viewed import MOST_GAP_SECONDS, MOST_SPEED

Schema = dict[str, Any]

LIMITS = Limits()


def object_of(required: Mapping[str, Any], optional: Mapping[str, Any] | None = None, text: str = "") -> Schema:
    """Return an object with these members, and room for more."""
    made: Schema = {"type": "object", "properties": {**required, **(optional or {})}}
    if required:
        made["required"] = list(required)
    return {**made, "description": text} if text else made


def frame_of(
    type: str, text: str, required: Mapping[str, Any] | None = None, optional: Mapping[str, Any] | None = None
) -> Schema:
    """Return a frame of `type`; `text` says what it is for."""
    return object_of({"type": {"const": type}, **(required or {})}, optional, text)


def ref(name: str) -> Schema:
    """Refer to one of DEFS."""
    return {"$ref": f"#/$defs/{name}"}


def or_null(schema: Schema) -> Schema:
    """Return what may be null too."""
    return {"anyOf": [schema, {"type": "null"}]}


def list_of(items: Schema, **bounds: Any) -> Schema:
    """Return a list of `items`."""
    return {"type": "array", "items": items, **bounds}


STRING: Schema = {"type": "string"}
TIME: Schema = {"type": "string", "format": "date-time"}
MILLISECONDS: Schema = {"type": "integer", "minimum": 0}
# What of a channel, and how what was missed comes: docs/views.md.
_VIEW: Schema = {
    **presence_schemas.HEARS,
    "filter": or_null(ref("filter")),
    "delta": or_null({"type": "boolean", "description": "Of a resource's states, what changed where that is shorter"}),
}
_PACE: Schema = {
    "speed": or_null({"type": "number", "minimum": 0, "maximum": MOST_SPEED}),
    "max_gap_ms": or_null({"type": "number", "minimum": 0, "maximum": MOST_GAP_SECONDS * 1000}),
}

DEFS: Mapping[str, Schema] = {
    "id": {
        "description": "Chosen by the client; the answer carries it",
        "anyOf": [{"type": "integer"}, {"type": "string", "maxLength": LIMITS.id_characters}],
    },
    "channel": {"type": "string", "description": "The name of a channel, such as agents or chat:lobby"},
    "offset": {
        "type": "string",
        "pattern": "^[0-9]{1,19}$",
        "description": "A place in a channel, in decimal digits; compared only within one epoch",
    },
    "given_offset": {
        "description": "An offset as a client writes it",
        "anyOf": [ref("offset"), {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET}],
    },
    "epoch": {"type": "string", "minLength": 1, "description": "The life of a channel's offsets"},
    "place": object_of({"offset": ref("offset"), "epoch": ref("epoch")}),
    "event": object_of(
        {
            "id": STRING,
            "type": STRING,
            "source": STRING,
            "subject": STRING,
            "time": TIME,
            "data": {"description": "The whole resource, or what was published"},
        },
        {
            "revision": {"type": "integer", "minimum": 1, "description": "How often a chat's message was changed"},
            "deleted": {"const": True, "description": "It was removed: data is null"},
            "deleted_by": STRING,
        },
        text="What happened; of an event over 32 KiB data is {id, version, href, truncated: true}",
    ),
    "bare_event": object_of(
        {"id": STRING, "type": STRING, "source": STRING, "subject": STRING, "time": TIME},
        text="An event without its data: patch makes that of the data that the channel brought before for the subject",
    ),
    "patch": list_of(
        object_of({"op": {"enum": ["add", "remove", "replace"]}, "path": STRING}, {"value": {}}),
        description="A JSON Patch (RFC 6902)",
    ),
    "filter": {
        "type": "object",
        "minProperties": 1,
        "description": "Members of data by name or path, of the envelope with a dollar, and what they are to be",
    },
    "error": object_of(
        {
            "code": {"enum": list(CATALOGUE)},
            "message": STRING,
            "details": list_of(object_of({"field": STRING, "code": {"enum": list(CATALOGUE)}, "message": STRING})),
            "request_id": STRING,
            "timestamp": TIME,
        },
        {"retry_after": {"type": "integer", "minimum": 0}},
        text="The error object of REST, with what REST has in Retry-After, in seconds; codes may be added",
    ),
    **presence_schemas.DEFS,
    "wanted": {
        "description": "A channel, and where to go on: without a place, from the present",
        "anyOf": [
            ref("channel"),
            object_of(
                {"channel": ref("channel")},
                {
                    "offset": {"type": "null"},
                    "epoch": or_null(STRING),
                    "max_in_flight": {"type": "integer", "minimum": 1, "maximum": MOST_IN_FLIGHT},
                    **_VIEW,
                },
            ),
            object_of(
                {"channel": ref("channel"), "offset": ref("given_offset")},
                {"epoch": or_null(STRING), **_VIEW, **_PACE},
            ),
            object_of({"channel": ref("channel"), "since": TIME}, {**_VIEW, **_PACE}),
            object_of(
                {"channel": ref("channel"), "after_event": {"type": "string", "format": "uuid"}}, {**_VIEW, **_PACE}
            ),
        ],
    },
    "joined": {
        "description": "A channel of a subscribe frame, joined or refused",
        "oneOf": [
            object_of(
                {
                    "channel": ref("channel"),
                    "offset": ref("offset"),
                    "epoch": ref("epoch"),
                    "recovered": {"type": "boolean"},
                },
                {"presence": ref("heard")},
            ),
            object_of(
                {
                    "channel": ref("channel"),
                    "status": ref("subscription_status"),
                    "max_in_flight": {"type": "integer", "minimum": 1},
                },
                text="A durable subscription, which the connection consumes now",
            ),
            object_of({"channel": ref("channel"), "error": ref("error")}),
        ],
    },
    "subscription_status": {
        "enum": ["active", "paused", "disabled"],
        "description": "Only an active one hands out events",
    },
    "delivery": {
        "type": "string",
        "pattern": "^[0-9]{1,18}[.][0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
        "description": "One attempt to deliver an event of a durable subscription, the ack_id of REST",
    },
}
