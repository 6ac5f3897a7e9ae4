"""What RFC 6455 forbids a client and aiohttp lets pass: checked on the way to aiohttp's parser.

    StrictFrames.feed_data -> the same bytes to the parser; from the first fault on, a frame that the parser refuses with 1002

Where compression was agreed, the heads of compressed messages are changed for the parser, as Inflation says.

No I/O. Only the heads of frames are looked at; payloads are passed on as they come.
"""

from typing import Any, Protocol

from hub.stream.inflation import RSV1, Inflation

# A final frame of a reserved opcode (section 5.2): every parser fails the connection on it, with 1002.
FORBIDDEN_FRAME = b"\x83\x80"

_CONTINUATION, _TEXT, _BINARY, _CLOSE = 0x0, 0x1, 0x2, 0x8
_MASK_BYTES = 4
# What may stand in a close frame (section 7.4 and the registry it begins): 1004-1006 and 1015 are never sent.
_CLOSE_CODES = (range(1000, 1004), range(1007, 1015), range(3000, 5000))


class Parser(Protocol):
    """aiohttp's parser of WebSocket frames."""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Parse; return whether the connection is to end, and what is left."""
        ...

    def feed_eof(self) -> None:
        """Take the end of the connection."""
        ...


class StrictFrames:
    """Stands before a parser.

    Refuses frames without a mask (section 5.1), lengths that are not in their shortest form or over 2^63 (5.2), a message that
    begins within another, also after an empty fragment (5.4), close codes that are not for the wire (7.4), and RSV1 but on
    the first frame of a message where compression was agreed (RFC 7692, section 6): there is an `inflation` then.
    """

    __slots__ = ("_held", "_inflation", "_is_broken", "_is_in_message", "_parser", "_skip")

    def __init__(self, parser: Parser, inflation: Inflation | None = None) -> None:
        self._parser = parser
        self._inflation = inflation
        self._held = b""
        self._skip = 0  # bytes of a payload that are still to come
        self._is_in_message = False
        self._is_broken = False

    def feed_data(self, data: Any) -> tuple[bool, bytes]:
        """Hand on what came; a head that is not whole waits here."""
        if self._is_broken:
            return True, b""
        data = self._held + bytes(data)
        self._held = b""
        at = self._skip
        changed: dict[int, int] = {}
        while at < len(data):
            size = self._frame_size(data, at)
            if size is None:
                self._is_broken = True
                return self._parser.feed_data(_with(changed, data[:at]) + FORBIDDEN_FRAME)
            if size == 0:
                self._held = data[at:]
                self._skip = 0
                return self._parser.feed_data(_with(changed, data[:at])) if at else (False, b"")
            if self._inflation is not None and (first := self._inflation.plain_head(data[at])) != data[at]:
                changed[at] = first
            at += size
        self._skip = at - len(data)
        return self._parser.feed_data(_with(changed, data))

    def feed_eof(self) -> None:
        """Hand on the end."""
        self._parser.feed_eof()

    def _frame_size(self, data: bytes, at: int) -> int | None:
        """Return the length of the frame that begins at `at`: 0 while its head is not whole, None where it is forbidden."""
        if len(data) - at < 2:
            return 0
        first, second = data[at], data[at + 1]
        if not second & 0x80 or (first & RSV1 and not self._may_be_compressed(first & 0x0F)):
            return None
        head, length = 2, second & 0x7F
        if length >= 126:
            wide = 2 if length == 126 else 8
            head += wide
            if len(data) - at < head:
                return 0
            length = int.from_bytes(data[at + 2 : at + head], "big")
            if length < (126 if wide == 2 else 65536) or length >> 63:
                return None
        opcode = first & 0x0F
        if opcode == _CLOSE and length >= 2:
            return self._close_size(data, at + head, head + _MASK_BYTES + length)
        return head + _MASK_BYTES + length if self._is_in_order(opcode, is_final=bool(first & 0x80)) else None

    def _close_size(self, data: bytes, mask_at: int, size: int) -> int | None:
        mask, code = data[mask_at : mask_at + 2], data[mask_at + 4 : mask_at + 6]
        if len(code) < 2:
            return 0
        plain = int.from_bytes(mask, "big") ^ int.from_bytes(code, "big")
        return size if any(plain in codes for codes in _CLOSE_CODES) else None

    def _may_be_compressed(self, opcode: int) -> bool:
        return self._inflation is not None and opcode in (_TEXT, _BINARY)

    def _is_in_order(self, opcode: int, *, is_final: bool) -> bool:
        if opcode >= _CLOSE:  # control frames may stand between fragments (section 5.5)
            return True
        if (opcode == _CONTINUATION) is not self._is_in_message:
            return False
        self._is_in_message = not is_final
        return True


def _with(changed: dict[int, int], data: bytes) -> bytes:
    """Return `data` with other bytes at these places."""
    if not changed:
        return data
    parts = bytearray(data)
    for at, byte in changed.items():
        parts[at] = byte
    return bytes(parts)
