"""Every frame of the stream as JSON Schema (2020-12), in one place, for both forms of frames.

    CLIENT, SERVER     the frames by their `type`
    document(side)     one schema that describes any frame of a side

Members that are not named here are ignored by the hub, and clients ignore those of the hub: schemas leave room for them.
"""

from collections.abc import Mapping
from typing import Any

from core.errors import CATALOGUE
from hub.stream.codes import OF_THE_STREAM
from hub.stream.members import MAX_OFFSET, MOST_IN_FLIGHT
from hub.stream.protocol import Limits
from rooms.live_rules import LIVE

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]

_LIMITS = Limits()


def _object(required: Mapping[str, Any], optional: Mapping[str, Any] | None = None, text: str = "") -> Schema:
    made: Schema = {"type": "object", "properties": {**required, **(optional or {})}}
    if required:
        made["required"] = list(required)
    return {**made, "description": text} if text else made


def _frame(
    type: str, text: str, required: Mapping[str, Any] | None = None, optional: Mapping[str, Any] | None = None
) -> Schema:
    return _object({"type": {"const": type}, **(required or {})}, optional, text)


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _list(items: Schema, **bounds: int) -> Schema:
    return {"type": "array", "items": items, **bounds}


_STRING: Schema = {"type": "string"}
_TIME: Schema = {"type": "string", "format": "date-time"}
_MILLISECONDS: Schema = {"type": "integer", "minimum": 0}
_RESULT_OF_ANY: Schema = {
    "description": "What the operation answers by REST, or what publish, history, ack, nack or extend say"
}

DEFS: Mapping[str, Schema] = {
    "id": {
        "description": "Chosen by the client; the answer carries it",
        "anyOf": [{"type": "integer"}, {"type": "string", "maxLength": _LIMITS.id_characters}],
    },
    "channel": {"type": "string", "description": "The name of a channel, such as agents or chat:lobby"},
    "offset": {
        "type": "string",
        "pattern": "^[0-9]{1,19}$",
        "description": "A place in a channel, in decimal digits; compared only within one epoch",
    },
    "given_offset": {
        "description": "An offset as a client writes it",
        "anyOf": [_ref("offset"), {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET}],
    },
    "epoch": {"type": "string", "minLength": 1, "description": "The life of a channel's offsets"},
    "place": _object({"offset": _ref("offset"), "epoch": _ref("epoch")}),
    "event": _object(
        {
            "id": _STRING,
            "type": _STRING,
            "source": _STRING,
            "subject": _STRING,
            "time": _TIME,
            "data": {"description": "The whole resource, or what was published"},
        },
        text="What happened; of an event over 32 KiB data is {id, version, href, truncated: true}",
    ),
    "error": _object(
        {
            "code": {"enum": list(CATALOGUE)},
            "message": _STRING,
            "details": _list(_object({"field": _STRING, "code": {"enum": list(CATALOGUE)}, "message": _STRING})),
            "request_id": _STRING,
            "timestamp": _TIME,
        },
        text="The error object of REST; codes may be added",
    ),
    "wanted": {
        "description": "A channel, and where to go on: without a place, from the present",
        "anyOf": [
            _ref("channel"),
            _object(
                {"channel": _ref("channel")},
                {
                    "offset": {"type": "null"},
                    "epoch": _or_null(_STRING),
                    "max_in_flight": {"type": "integer", "minimum": 1, "maximum": MOST_IN_FLIGHT},
                },
            ),
            _object({"channel": _ref("channel"), "offset": _ref("given_offset")}, {"epoch": _or_null(_STRING)}),
            _object({"channel": _ref("channel"), "since": _TIME}),
            _object({"channel": _ref("channel"), "after_event": {"type": "string", "format": "uuid"}}),
        ],
    },
    "joined": {
        "description": "A channel of a subscribe frame, joined or refused",
        "oneOf": [
            _object(
                {
                    "channel": _ref("channel"),
                    "offset": _ref("offset"),
                    "epoch": _ref("epoch"),
                    "recovered": {"type": "boolean"},
                }
            ),
            _object(
                {
                    "channel": _ref("channel"),
                    "status": _ref("subscription_status"),
                    "max_in_flight": {"type": "integer", "minimum": 1},
                },
                text="A durable subscription, which the connection consumes now",
            ),
            _object({"channel": _ref("channel"), "error": _ref("error")}),
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

_ID = {"id": _or_null(_ref("id"))}
_REPLY = {"id": _ref("id")}
_SETTLED = {
    "channel": _ref("channel"),
    "deliveries": _list(_ref("delivery"), minItems=1, maxItems=_LIMITS.deliveries),
}
_RESOURCE: Schema = {"type": "string", "minLength": 1, "maxLength": _LIMITS.operation_characters}
_LOST = "Answered by result with done and lost; without an id only where one is lost"

CLIENT: Mapping[str, Schema] = {
    "subscribe": _frame(
        "subscribe",
        "Join channels. Answered by subscribed",
        {"channels": _list(_ref("wanted"), minItems=1, maxItems=_LIMITS.items)},
        _ID,
    ),
    "unsubscribe": _frame(
        "unsubscribe",
        "Leave channels. Answered by unsubscribed",
        {
            "channels": _list(
                {"anyOf": [_ref("channel"), _object({"channel": _ref("channel")})]}, minItems=1, maxItems=_LIMITS.items
            )
        },
        _ID,
    ),
    "publish": _frame(
        "publish",
        f"Publish into a live room ({', '.join(f'{name}:' for name, rules in LIVE.items() if rules.publish_scope)}). "
        "Answered by result with offset, epoch, event_id",
        {"channel": _ref("channel"), "data": {}},
        _ID,
    ),
    "history": _frame(
        "history",
        "Read a live room: what follows offset, the latest below before, or the latest. Answered by result",
        {"channel": _ref("channel")},
        {
            **_ID,
            "offset": _or_null(_ref("given_offset")),
            "epoch": _or_null(_STRING),
            "before": _or_null(_ref("given_offset")),
            "limit": {"type": "integer", "minimum": 1, "maximum": _LIMITS.history},
        },
    ),
    "call": _frame(
        "call",
        "Run an operation of REST. Answered by result",
        {"operation": {"type": "string", "minLength": 1, "maxLength": _LIMITS.operation_characters}},
        {
            **_ID,
            "input": _or_null({"type": "object"}),
            "idempotency_key": _or_null({"type": "string", "minLength": 1, "maxLength": _LIMITS.key_characters}),
        },
    ),
    "message": _frame(
        "message",
        "Say something in a session of an agent, which answers. Answered by result with the message and the execution",
        {"session": _RESOURCE, "text": _STRING},
        {
            **_ID,
            "parent_id": _or_null(
                {"type": "string", "description": "The message that this one follows; else the last one"}
            ),
            "attachments": _or_null({"type": "array"}),
            "idempotency_key": _or_null({"type": "string", "minLength": 1, "maxLength": _LIMITS.key_characters}),
        },
    ),
    "cancel": _frame(
        "cancel",
        "End an execution, or that of a session which is under way. Answered by result",
        None,
        {**_ID, "execution": _or_null(_RESOURCE), "session": _or_null(_RESOURCE)},
    )
    | {
        "oneOf": [
            {
                "properties": {name: _RESOURCE},
                "required": [name],
                "not": {"properties": {other: _RESOURCE}, "required": [other]},
            }
            for name, other in (("execution", "session"), ("session", "execution"))
        ]
    },
    "ack": _frame("ack", f"Deliveries are done. {_LOST}", _SETTLED, _ID),
    "nack": _frame(
        "nack",
        f"Deliveries come again later, or never. {_LOST}",
        _SETTLED,
        {
            **_ID,
            "delay_seconds": _or_null({"type": "number", "minimum": 0, "maximum": _LIMITS.delay_seconds}),
            "reason": _or_null({"type": "string", "minLength": 1, "maxLength": _LIMITS.reason_characters}),
            "dead_letter": _or_null({"type": "boolean"}),
        },
    ),
    "extend": _frame(
        "extend",
        f"Deliveries take longer: their leases end seconds from now. {_LOST}",
        {**_SETTLED, "seconds": {"type": "number", "minimum": 1, "maximum": _LIMITS.extension_seconds}},
        _ID,
    ),
    "authenticate": _frame(
        "authenticate",
        "Take a credential, or renew it. Answered by welcome",
        {"token": {"type": "string", "minLength": 1, "maxLength": _LIMITS.token_characters}},
        _ID,
    ),
    "ping": _frame("ping", "Ask for a pong", None, _ID),
}

SERVER: Mapping[str, Schema] = {
    "welcome": _frame(
        "welcome",
        "The connection speaks for subject",
        {
            "connection": _STRING,
            "subject": _STRING,
            "org_id": _STRING,
            "expires_at": _or_null(_TIME),
            "ping_interval_ms": _MILLISECONDS,
            "max_frame_bytes": {"type": "integer"},
            "max_channels": {"type": "integer"},
        },
        _REPLY,
    ),
    "subscribed": _frame("subscribed", "Answers subscribe", {"channels": _list(_ref("joined"))}, _REPLY),
    "unsubscribed": _frame(
        "unsubscribed",
        "Answers unsubscribe; with error: the credential lost the channel, or the durable subscription is gone",
        {"channels": _list(_ref("channel"))},
        {**_REPLY, "error": _ref("error")},
    ),
    "event": _frame(
        "event",
        "An event of a channel; epoch stands in those of the connection's own room, delivery, attempt and lease_until "
        "(and replayed, of a replay) in those of durable subscriptions, which are to be answered",
        {"channel": _ref("channel"), "offset": _ref("offset"), "event": _ref("event")},
        {
            "epoch": _ref("epoch"),
            "delivery": _ref("delivery"),
            "attempt": {"type": "integer", "minimum": 1},
            "lease_until": _TIME,
            "replayed": {"const": True},
        },
    ),
    "subscription": _frame(
        "subscription",
        "A durable subscription that the connection consumes was paused, disabled or resumed",
        {"channel": _ref("channel"), "status": _ref("subscription_status"), "reason": _or_null(_STRING)},
    ),
    "result": _frame(
        "result",
        "Answers call, message, cancel, publish, history, ack, nack, extend",
        {"result": _RESULT_OF_ANY},
        {**_REPLY, "event_id": _STRING, "replayed": {"const": True}},
    ),
    "error": _frame("error", "The frame is refused as a whole", {"error": _ref("error")}, _REPLY),
    "reset": _frame(
        "reset",
        "Events of the channel may be missing up to here: read the state again, go on from here",
        {
            "channel": _ref("channel"),
            "offset": _ref("offset"),
            "epoch": _ref("epoch"),
            "reason": {"enum": ["epoch", "offset", "history"]},
        },
    ),
    "position": _frame(
        "position",
        "Everything up to here, of every log channel of the connection, has been sent",
        {"offset": _ref("offset"), "epoch": _ref("epoch")},
    ),
    "pong": _frame("pong", "Answers ping", None, {**_REPLY, "position": _ref("place")}),
    "token_expiring": _frame(
        "token_expiring",
        "Renew the credential by authenticate",
        {"expires_at": _TIME, "expires_in_ms": _MILLISECONDS},
    ),
    "disconnect": _frame(
        "disconnect",
        "The connection is about to be closed with code; come back after after_ms where reconnect is true",
        {
            "code": {"enum": [each.code for each in OF_THE_STREAM]},
            "reason": _STRING,
            "reconnect": {"type": "boolean"},
            "after_ms": _MILLISECONDS,
        },
    ),
}


def document(frames: Mapping[str, Schema]) -> Schema:
    """Return one schema for any frame of CLIENT or SERVER."""
    return {
        "$schema": DIALECT,
        "$defs": {**DEFS, **frames_as_defs(frames)},
        "oneOf": [_ref(f"{n}_frame") for n in frames],
    }


def frames_as_defs(frames: Mapping[str, Schema]) -> dict[str, Schema]:
    """Return the frames under names that are not those of their parts."""
    return {f"{name}_frame": schema for name, schema in frames.items()}
