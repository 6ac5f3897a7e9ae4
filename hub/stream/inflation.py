"""What one client compresses. No I/O.

The parser of frames knows nothing of compression: on the way to it (strict.py) the heads of compressed messages are made those of
binary ones, and noted here; what it makes of them is inflated here, one message at a time, when its turn comes. So a burst of bombs
is never there at once, and no inflator outlives its message.
"""

from hub.stream.codes import BAD_DATA, TOO_BIG, CloseCode
from hub.stream.deflate import InflatesTooFar, NotDeflate, inflated

# RFC 7692, section 6: set on the first frame of a compressed message.
RSV1 = 0x40
_TEXT, _BINARY = 0x1, 0x2
_OPCODE = 0x0F
_PLAIN = 0
# So much is inflated, in some tenths of a millisecond, before others get their turn.
AT_ONCE_BYTES = 64 * 1024


class Inflation:
    """Notes which messages of a client are compressed; `most` is how many bytes one may have."""

    __slots__ = ("_kinds", "_most", "_size")

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        # A byte for each message that has begun and was not opened: the opcode of a compressed one.
        self._kinds = bytearray()

    def plain_head(self, first: int) -> int:
        """Take the first byte of a frame's head, which is in order; return it as the parser shall see it."""
        opcode = first & _OPCODE
        if opcode not in (_TEXT, _BINARY):
            return first
        if not first & RSV1:
            self._kinds.append(_PLAIN)
            return first
        self._kinds.append(opcode)
        return first & ~(RSV1 | _OPCODE) | _BINARY

    def opened(self, message: str | bytes) -> str | bytes | CloseCode:
        """Return the message that the parser's next one stands for, or the code with which it ends the connection."""
        kind = self._kinds.pop(0)
        if kind == _PLAIN or isinstance(message, str):
            return message
        try:
            data = inflated(message, self._most)
            self._size += len(data)
            return data.decode() if kind == _TEXT else data
        except InflatesTooFar:
            return TOO_BIG
        except (NotDeflate, UnicodeDecodeError):
            return BAD_DATA

    def takes_long(self) -> bool:
        """Tell whether much was inflated since this was last said."""
        if self._size < AT_ONCE_BYTES:
            return False
        self._size = 0
        return True
