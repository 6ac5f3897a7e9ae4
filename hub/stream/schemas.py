"""Every frame of the stream as JSON Schema (2020-12), in one place, for both forms of frames.

    CLIENT, SERVER     the frames by their `type`
    document(side)     one schema that describes any frame of a side

Members that are not named here are ignored by the hub, and clients ignore those of the hub: schemas leave room for them.
"""

from collections.abc import Mapping

from hub.stream import presence_schemas
from hub.stream.codes import OF_THE_STREAM
from hub.stream.schema_parts import (
    DEFS,
    LIMITS,
    MILLISECONDS,
    STRING,
    TIME,
    Schema,
    frame_of,
    list_of,
    object_of,
    or_null,
    ref,
)
from rooms.live_rules import LIVE

__all__ = ["CLIENT", "DEFS", "DIALECT", "SERVER", "Schema", "document", "frames_as_defs"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_RESULT_OF_ANY: Schema = {
    "description": "What the operation answers by REST, or what publish, history, ack, nack or extend say"
}

_ID = {"id": or_null(ref("id"))}
_REPLY = {"id": ref("id")}
_SETTLED = {
    "channel": ref("channel"),
    "deliveries": list_of(ref("delivery"), minItems=1, maxItems=LIMITS.deliveries),
}
_RESOURCE: Schema = {"type": "string", "minLength": 1, "maxLength": LIMITS.operation_characters}
_LOST = "Answered by result with done and lost; without an id only where one is lost"

CLIENT: Mapping[str, Schema] = {
    "subscribe": frame_of(
        "subscribe",
        "Join channels. Answered by subscribed",
        {"channels": list_of(ref("wanted"), minItems=1, maxItems=LIMITS.items)},
        _ID,
    ),
    "unsubscribe": frame_of(
        "unsubscribe",
        "Leave channels. Answered by unsubscribed",
        {
            "channels": list_of(
                {"anyOf": [ref("channel"), object_of({"channel": ref("channel")})]}, minItems=1, maxItems=LIMITS.items
            )
        },
        _ID,
    ),
    "publish": frame_of(
        "publish",
        f"Publish into a live room ({', '.join(f'{name}:' for name, rules in LIVE.items() if rules.publish_scope)}, "
        "and of own namespaces). "
        "Answered by result with offset, epoch, event_id; of what is ephemeral with event_id alone",
        {"channel": ref("channel"), "data": {}},
        {
            **_ID,
            "ephemeral": or_null(
                {"type": "boolean", "description": "Only for those who are there now; nobody keeps it"}
            ),
        },
    ),
    "history": frame_of(
        "history",
        "Read a live room: what follows offset, the latest below before, or the latest. Answered by result",
        {"channel": ref("channel")},
        {
            **_ID,
            "offset": or_null(ref("given_offset")),
            "epoch": or_null(STRING),
            "before": or_null(ref("given_offset")),
            "limit": {"type": "integer", "minimum": 1, "maximum": LIMITS.history},
        },
    ),
    "presence": frame_of(
        "presence",
        "Read who is in a channel, by pages; with data, say that of the own connection there. Answered by presence",
        {"channel": ref("channel")},
        {**_ID, **presence_schemas.ASKED},
    ),
    "call": frame_of(
        "call",
        "Run an operation of REST. Answered by result",
        {"operation": {"type": "string", "minLength": 1, "maxLength": LIMITS.operation_characters}},
        {
            **_ID,
            "input": or_null({"type": "object"}),
            "idempotency_key": or_null({"type": "string", "minLength": 1, "maxLength": LIMITS.key_characters}),
        },
    ),
    "message": frame_of(
        "message",
        "Say something in a session of an agent, which answers. Answered by result with the message and the execution",
        {"session": _RESOURCE, "text": STRING},
        {
            **_ID,
            "parent_id": or_null(
                {"type": "string", "description": "The message that this one follows; else the last one"}
            ),
            "attachments": or_null({"type": "array"}),
            "idempotency_key": or_null({"type": "string", "minLength": 1, "maxLength": LIMITS.key_characters}),
        },
    ),
    "cancel": frame_of(
        "cancel",
        "End an execution, or that of a session which is under way. Answered by result",
        None,
        {**_ID, "execution": or_null(_RESOURCE), "session": or_null(_RESOURCE)},
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
    "ack": frame_of("ack", f"Deliveries are done. {_LOST}", _SETTLED, _ID),
    "nack": frame_of(
        "nack",
        f"Deliveries come again later, or never. {_LOST}",
        _SETTLED,
        {
            **_ID,
            "delay_seconds": or_null({"type": "number", "minimum": 0, "maximum": LIMITS.delay_seconds}),
            "reason": or_null({"type": "string", "minLength": 1, "maxLength": LIMITS.reason_characters}),
            "dead_letter": or_null({"type": "boolean"}),
        },
    ),
    "extend": frame_of(
        "extend",
        f"Deliveries take longer: their leases end seconds from now. {_LOST}",
        {**_SETTLED, "seconds": {"type": "number", "minimum": 1, "maximum": LIMITS.extension_seconds}},
        _ID,
    ),
    "authenticate": frame_of(
        "authenticate",
        "Take a credential, or renew it. Answered by welcome",
        {"token": {"type": "string", "minLength": 1, "maxLength": LIMITS.token_characters}},
        _ID,
    ),
    "ping": frame_of("ping", "Ask for a pong", None, _ID),
}

SERVER: Mapping[str, Schema] = {
    "welcome": frame_of(
        "welcome",
        "The connection speaks for subject",
        {
            "connection": STRING,
            "subject": STRING,
            "org_id": STRING,
            "expires_at": or_null(TIME),
            "ping_interval_ms": MILLISECONDS,
            "max_frame_bytes": {"type": "integer"},
            "max_channels": {"type": "integer"},
        },
        _REPLY,
    ),
    "subscribed": frame_of("subscribed", "Answers subscribe", {"channels": list_of(ref("joined"))}, _REPLY),
    "unsubscribed": frame_of(
        "unsubscribed",
        "Answers unsubscribe; with error: the credential lost the channel, or what goes for it has changed, or the durable "
        "subscription is gone",
        {"channels": list_of(ref("channel"))},
        {**_REPLY, "error": ref("error")},
    ),
    "event": frame_of(
        "event",
        "An event of a channel; epoch stands in those of the connection's own room, delivery, attempt and lease_until "
        "in those of durable subscriptions, which are to be answered, replayed in those of a replay; left: it does not match the "
        "filter any more; patch: the data, told by what changed",
        {
            "channel": ref("channel"),
            "offset": ref("offset"),
            "event": {"anyOf": [ref("event"), ref("bare_event")]},
        },
        {
            "left": {"const": True},
            "patch": ref("patch"),
            "epoch": ref("epoch"),
            "delivery": ref("delivery"),
            "attempt": {"type": "integer", "minimum": 1},
            "lease_until": TIME,
            "replayed": {"const": True},
        },
    ),
    "signal": frame_of(
        "signal",
        "An event of a live room that nobody keeps, for those who are there and read: it has no offset",
        {"channel": ref("channel"), "event": ref("event")},
    ),
    "subscription": frame_of(
        "subscription",
        "A durable subscription that the connection consumes was paused, disabled or resumed",
        {"channel": ref("channel"), "status": ref("subscription_status"), "reason": or_null(STRING)},
    ),
    "result": frame_of(
        "result",
        "Answers call, message, cancel, publish, history, ack, nack, extend",
        {"result": _RESULT_OF_ANY},
        {**_REPLY, "event_id": STRING, "replayed": {"const": True}},
    ),
    "presence": frame_of(
        "presence",
        "Answers presence: members, count and next where they were read; else what has changed in a channel since the version "
        "after, joined, left and updated",
        {"channel": ref("channel"), "version": ref("version"), "epoch": ref("epoch")},
        {**_REPLY, **presence_schemas.TOLD},
    ),
    "error": frame_of("error", "The frame is refused as a whole", {"error": ref("error")}, _REPLY),
    "reset": frame_of(
        "reset",
        "Events of the channel may be missing up to here: read the state again, go on from here",
        {
            "channel": ref("channel"),
            "offset": ref("offset"),
            "epoch": ref("epoch"),
            "reason": {"enum": ["epoch", "offset", "history"]},
        },
    ),
    "position": frame_of(
        "position",
        "Everything up to here, of every log channel of the connection, has been sent",
        {"offset": ref("offset"), "epoch": ref("epoch")},
    ),
    "pong": frame_of("pong", "Answers ping", None, {**_REPLY, "position": ref("place")}),
    "token_expiring": frame_of(
        "token_expiring",
        "Renew the credential by authenticate",
        {"expires_at": TIME, "expires_in_ms": MILLISECONDS},
    ),
    "disconnect": frame_of(
        "disconnect",
        "The connection is about to be closed with code; come back after after_ms where reconnect is true",
        {
            "code": {"enum": [each.code for each in OF_THE_STREAM]},
            "reason": STRING,
            "reconnect": {"type": "boolean"},
            "after_ms": MILLISECONDS,
        },
    ),
}


def document(frames: Mapping[str, Schema]) -> Schema:
    """Return one schema for any frame of CLIENT or SERVER."""
    return {
        "$schema": DIALECT,
        "$defs": {**DEFS, **frames_as_defs(frames)},
        "oneOf": [ref(f"{n}_frame") for n in frames],
    }


def frames_as_defs(frames: Mapping[str, Schema]) -> dict[str, Schema]:
    """Return the frames under names that are not those of their parts."""
    return {f"{name}_frame": schema for name, schema in frames.items()}
