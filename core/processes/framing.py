"""What the hub and its processes say to each other over pipes: frames of four bytes of length and MessagePack. No I/O."""

import struct
from typing import Any

import msgpack

LENGTH = struct.Struct(">I")
LARGEST = (1 << 32) - 1


def framed(message: list[Any]) -> bytes:
    """Return a message as it goes over the pipe."""
    body = bytes(msgpack.packb(message) or b"")
    return LENGTH.pack(len(body)) + body


def unframed(body: bytes) -> list[Any]:
    """Return the message of a frame, without its length."""
    return msgpack.unpackb(body, max_map_len=LARGEST, max_array_len=LARGEST)
