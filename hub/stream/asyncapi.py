"""The stream as an AsyncAPI 3.0 document, made from the schemas, and where it is served: `GET /asyncapi.json`."""

from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from core.content.text import Text
from hub.stream.schemas import CLIENT, DEFS, SERVER, Schema, frames_as_defs
from hub.stream.wires import JsonWire, MsgpackWire
from hub.texts import answered

PATH = "/asyncapi.json"
# Of the protocol, not of the release: the first number changes when a client of before could not cope.
PROTOCOL_VERSION = "1.0.0"
# What a frame of a client is answered with; where it is refused, with `error`.
REPLIES: Mapping[str, str] = {
    "subscribe": "subscribed",
    "unsubscribe": "unsubscribed",
    "publish": "result",
    "history": "result",
    "presence": "presence",
    "call": "result",
    "message": "result",
    "cancel": "result",
    "ack": "result",
    "nack": "result",
    "extend": "result",
    "authenticate": "welcome",
    "ping": "pong",
}
# What it sends to those who only listen.
_POLLED = ("subscribed", "event", "reset", "unsubscribed", "disconnect")
_HEARD = {"events": ("welcome", *_POLLED, "position", "presence", "signal", "token_expiring"), "poll": _POLLED}
# What the hub sends without being asked.
UNASKED = (
    "welcome",
    "event",
    "presence",
    "reset",
    "position",
    "signal",
    "subscription",
    "unsubscribed",
    "token_expiring",
    "disconnect",
)


def document() -> dict[str, Any]:
    """Return the document."""
    frames = {**CLIENT, **SERVER}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "AIMatrix Hub stream", "version": PROTOCOL_VERSION, "description": _DESCRIPTION},
        "defaultContentType": "application/json",
        "channels": {
            "stream": {
                "address": "/v2/stream",
                "title": "The stream",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in frames},
                "bindings": {"ws": {"method": "GET", "query": _QUERY, "bindingVersion": "0.1.0"}},
            },
            **{name: _plain(name, *said) for name, (*said, _) in _PLAIN.items()},
        },
        "operations": {**_received(), **_sent(), **_sent_plainly()},
        "components": {
            "messages": {name: _message(name, schema) for name, schema in frames.items()},
            "schemas": _relocated({**DEFS, **frames_as_defs(frames)}),
            "securitySchemes": _SECURITY,
        },
    }


class AsyncApiDoor:
    """Serves the document, made once."""

    def __init__(self) -> None:
        # Public: it says nothing of anybody, and tools on pages of any origin may read it.
        headers = {"Access-Control-Allow-Origin": "*", "X-Content-Type-Options": "nosniff"}
        self._text = Text(orjson.dumps(document()), "application/json", headers)

    def add_to(self, app: web.Application) -> None:
        """Add the path."""
        app.router.add_get(PATH, self._answer)

    async def _answer(self, request: web.Request) -> web.Response:
        return await answered(request, self._text)


_DESCRIPTION = (
    "One WebSocket that carries every change of the channels that a client names, across lost connections and restarts. "
    f"Subprotocols: {JsonWire.subprotocol} (JSON in text messages; the default) and {MsgpackWire.subprotocol} (the same "
    "frames as MessagePack in binary messages)."
)
_QUERY: Schema = {
    "type": "object",
    "properties": {"ticket": {"type": "string", "description": "From POST /v2/stream/tickets; good once, for 30 s"}},
}
# The ways without WebSockets: where they are, what they are called, what they are, and their query.
_NAMED: Schema = {
    "channels": {"type": "string", "description": "Names, joined by commas"},
    "channel": {"type": "string", "description": "One name, which may have a comma; it may stand several times"},
    "subscribe": {
        "type": "array",
        "items": {"type": "string", "contentMediaType": "application/json"},
        "description": "Channels with options: each parameter is an item of a subscribe frame, such as "
        '`{"channel":"twins","filter":{"type":"logistics"}}`',
    },
}
_PLAIN: Mapping[str, tuple[str, str, str, Schema]] = {
    "events": (
        "/v2/stream/events",
        "The stream as server-sent events",
        "Each frame is the data of an event of its type; `Last-Event-ID` resumes all channels",
        {"last_event_id": {"type": "string"}, "padding": {"type": "integer", "minimum": 0, "maximum": 16384}},
    ),
    "poll": (
        "/v2/stream/poll",
        "The stream by long polling",
        "Answers `{frames, cursor}`, with frames as soon as there are some, or after `wait` seconds",
        {"cursor": {"type": "string"}, "wait": {"type": "integer", "minimum": 0, "maximum": 60}},
    ),
}
_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key or a token, in the request"},
    "ticket": {"type": "httpApiKey", "in": "query", "name": "ticket", "description": "A one-time ticket"},
}


def _plain(name: str, address: str, title: str, description: str) -> dict[str, Any]:
    """Return a channel on which clients only listen."""
    return {
        "address": address,
        "title": title,
        "description": f"{description}. docs/sse.md has the rest.",
        "messages": {each: {"$ref": f"#/components/messages/{each}"} for each in _HEARD[name]},
    }


def _sent_plainly() -> dict[str, Any]:
    return {
        f"unasked_{name}": {
            "action": "send",
            "channel": {"$ref": f"#/channels/{name}"},
            "summary": title,
            "messages": [{"$ref": f"#/channels/{name}/messages/{each}"} for each in _HEARD[name]],
            "bindings": {
                "http": {
                    "method": "GET",
                    "query": {"type": "object", "properties": {**_QUERY["properties"], **_NAMED, **query}},
                    "bindingVersion": "0.3.0",
                }
            },
        }
        for name, (_, title, _, query) in _PLAIN.items()
    }


def _message(name: str, schema: Schema) -> dict[str, Any]:
    return {"name": name, "summary": schema["description"], "payload": {"$ref": f"#/components/schemas/{name}_frame"}}


def _in_channel(*names: str) -> list[dict[str, str]]:
    return [{"$ref": f"#/channels/stream/messages/{name}"} for name in names]


def _received() -> dict[str, Any]:
    """Return an operation for each frame of clients; AsyncAPI speaks from the hub's side."""
    return {
        name: {
            "action": "receive",
            "channel": {"$ref": "#/channels/stream"},
            "summary": CLIENT[name]["description"],
            "messages": _in_channel(name),
            "reply": {"channel": {"$ref": "#/channels/stream"}, "messages": _in_channel(answer, "error")},
        }
        for name, answer in REPLIES.items()
    }


def _sent() -> dict[str, Any]:
    return {
        "unasked": {
            "action": "send",
            "channel": {"$ref": "#/channels/stream"},
            "summary": "What the hub sends by itself",
            "messages": _in_channel(*UNASKED),
        }
    }


def _relocated(value: Any) -> Any:
    """Return the schemas with references into the document's components."""
    if isinstance(value, Mapping):
        return {key: _relocated(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_relocated(each) for each in value]
    return value.replace("#/$defs/", "#/components/schemas/") if isinstance(value, str) else value
