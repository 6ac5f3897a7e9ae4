"""WebSocket framing (RFC 6455, section 5.2) of what the hub sends; what is in the frames stands in wires.py.

Server frames are unmasked and whole. No I/O here.
"""

from struct import Struct

from hub.stream.codes import MAX_REASON_BYTES, CloseCode

FrameId = str | int | None

_MEDIUM = Struct("!BBH")
_LONG = Struct("!BBQ")
_CLOSE = Struct("!BBH")
TEXT = 0x81  # FIN and opcode 1
BINARY = 0x82  # FIN and opcode 2
COMPRESSED = 0x40  # RSV1, beside either (RFC 7692, section 6)
_FINAL_CLOSE = 0x88  # FIN and opcode 8
FINAL_PONG = 0x8A  # FIN and opcode 10
PING_FRAME = b"\x89\x00"  # FIN and opcode 9, without a payload


def framed(payload: bytes, kind: int) -> bytes:
    """Return `payload` as one final frame: TEXT (it is UTF-8) or BINARY, and COMPRESSED where it is."""
    length = len(payload)
    if length < 126:
        return bytes((kind, length)) + payload
    if length < 65536:
        return _MEDIUM.pack(kind, 126, length) + payload
    return _LONG.pack(kind, 127, length) + payload


def frame_close(code: CloseCode) -> bytes:
    """Return a close frame with the code and its reason (RFC 6455, section 5.5.1)."""
    return frame_end(code.code, code.reason)


def frame_end(code: int, reason: str = "") -> bytes:
    """Return a close frame with a code that need not be one of the hub's own."""
    text = reason.encode()[:MAX_REASON_BYTES]
    return _CLOSE.pack(_FINAL_CLOSE, 2 + len(text), code) + text


def frame_pong(payload: bytes) -> bytes:
    """Return the answer to a ping, whose payload has at most 125 bytes (RFC 6455, section 5.5.3)."""
    return bytes((FINAL_PONG, len(payload))) + payload
