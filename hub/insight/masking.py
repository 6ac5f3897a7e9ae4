"""Frames as a trace shows them: readable, bounded, and without secrets."""

from collections.abc import Iterator
from typing import Any

import orjson

from core.errors import HubError
from core.masking import masked, masked_text
from hub.stream.deflate import inflated
from hub.stream.frames import COMPRESSED
from hub.stream.packed import unpacked

MOST_SHOWN = 4096
# A longer frame is shown as the beginning of its text.
MOST_WHOLE = 8192
# No frame that the hub compresses stands for more.
MOST_OF_OURS = 1024 * 1024
_TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x1, 0x2, 0x8, 0x9, 0xA


def frames_in(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Split what the hub wrote into (opcode, payload): whole, unmasked frames (RFC 6455, section 5.2), inflated."""
    at = 0
    while at + 2 <= len(data):
        opcode, length, head = data[at] & 0x0F, data[at + 1], 2
        if length == 126:
            length, head = int.from_bytes(data[at + 2 : at + 4], "big"), 4
        elif length == 127:
            length, head = int.from_bytes(data[at + 2 : at + 10], "big"), 10
        payload = data[at + head : at + head + length]
        yield opcode, inflated(payload, MOST_OF_OURS) if data[at] & COMPRESSED else payload
        at += head + length


def shown_sent(opcode: int, payload: bytes) -> dict[str, Any]:
    """Return how a frame of the hub stands in a trace."""
    if opcode == _CLOSE:
        code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else None
        return {"close": {"code": code, "reason": payload[2:].decode("utf-8", "replace")}}
    if opcode in (_PING, _PONG):
        return {"control": "ping" if opcode == _PING else "pong"}
    return shown(payload.decode("utf-8", "replace") if opcode == _TEXT else payload)


def shown(message: str | bytes) -> dict[str, Any]:
    """Return how a message stands in a trace: as `frame`, or as `text` where it is too long or cannot be read."""
    try:
        frame = orjson.loads(message) if isinstance(message, str) else unpacked(message)
    except (ValueError, HubError):
        if isinstance(message, bytes):
            return {"text": "(binary)", "truncated": True}
        return {"text": masked_text(message[:MOST_SHOWN]), "truncated": len(message) > MOST_SHOWN}
    try:
        text = orjson.dumps(masked(frame), default=_named).decode()
    except (TypeError, RecursionError):
        return {"text": "(nested too deeply)", "truncated": True}
    if len(text) > MOST_WHOLE:
        return {"text": text[:MOST_SHOWN], "truncated": True}
    return {"frame": orjson.loads(text)}


def _named(value: object) -> str:
    return f"({type(value).__name__})"
