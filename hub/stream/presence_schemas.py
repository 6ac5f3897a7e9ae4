"""What frames of presence hold, as JSON Schema; schemas.py has the frames."""

from collections.abc import Mapping
from typing import Any

from rooms.presence.page import MOST_OF_A_PAGE
from rooms.presence.presence import MOST_DATA_BYTES

_SUBJECT = {"type": "string", "minLength": 1, "maxLength": 264}
_MEMBERS = {"type": "array", "items": {"$ref": "#/$defs/member"}}
_NUMBER = {"type": "integer", "minimum": 0}

DEFS: Mapping[str, dict[str, Any]] = {
    "version": {
        "type": "string",
        "pattern": "^[0-9]{1,19}$",
        "description": "A state of a channel's presence; compared only within one epoch",
    },
    "count": {
        "type": "object",
        "properties": {"members": _NUMBER, "connections": _NUMBER},
        "required": ["members", "connections"],
        "description": "How many subjects are there, and how many connections they have",
    },
    "member": {
        "type": "object",
        "properties": {
            "subject": {"type": "string"},
            "connections": {"type": "integer", "minimum": 1},
            "data": {"anyOf": [{"type": "object"}, {"type": "null"}]},
            "joined_at": {"type": "string", "format": "date-time"},
        },
        "required": ["subject", "connections", "data", "joined_at"],
        "description": "One subject, however many connections it has; data is what one of them said last",
    },
    "heard": {
        "type": "object",
        "properties": {
            "version": {"$ref": "#/$defs/version"},
            "epoch": {"$ref": "#/$defs/epoch"},
            "count": {"$ref": "#/$defs/count"},
        },
        "required": ["version", "epoch", "count"],
        "description": "After which version presence frames follow, where they were asked for",
    },
}
# Of an item of subscribe.
HEARS = {
    "presence": {
        "anyOf": [{"type": "boolean"}, {"type": "null"}],
        "description": "Hear who comes and goes, and be seen",
    }
}
# Of the client's frame.
ASKED = {
    "after": {"anyOf": [_SUBJECT, {"type": "null"}], "description": "The subject after which the page begins"},
    "limit": {"type": "integer", "minimum": 1, "maximum": MOST_OF_A_PAGE},
    "data": {
        "anyOf": [{"type": "object"}, {"type": "null"}],
        "description": f"What the connection says of itself, at most {MOST_DATA_BYTES} bytes as JSON",
    },
}
# Of the hub's frame.
TOLD = {
    "after": {"$ref": "#/$defs/version"},
    "joined": _MEMBERS,
    "left": {
        "type": "array",
        "items": {"type": "object", "properties": {"subject": {"type": "string"}}, "required": ["subject"]},
    },
    "updated": _MEMBERS,
    "members": _MEMBERS,
    "next": {"anyOf": [{"type": "string"}, {"type": "null"}], "description": "The after of the next page"},
    "count": {"$ref": "#/$defs/count"},
}
