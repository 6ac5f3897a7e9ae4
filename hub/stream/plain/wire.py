"""The form of frames before they go out over plain HTTP: JSON, and behind each what it means for the client's cursor. No I/O here.

    {"type":"event",...} NUL event US 1043 US agents US agents:0192... NUL        (JSON has no NUL)

It is the same for all clients, so it is made once and fanned out as any; each client's outbound makes of it what that client gets.
"""

from collections.abc import Mapping
from math import ceil
from typing import Any

from core.events.event import Entry
from hub.stream.codes import OVERLOADED, RESTART, CloseCode
from hub.stream.wires import JsonWire
from rooms.live_wire import LiveEntry

NUL, US = b"\0", b"\x1f"
EVENT, ROOM_EVENT = b"event", b"room"
# A comment (HTML Living Standard, section 9.2.5): keeps proxies from giving up.
COMMENT = b":\n\n"
# Before an end by one of these a `disconnect` has said when to come back.
_ANNOUNCED = frozenset({RESTART, OVERLOADED})
# When a client comes back that nobody has given a slot: those that end together do not come together.
RETURN_MS, RETURN_SPREAD_MS = 1000, 3000
_STEP = 0.6180339887498949
_NO_LINE_ENDS = bytes.maketrans(b"\r\n", b"  ")


class PlainWire(JsonWire):
    """Writes frames as above. One of a node, for every client over plain HTTP; nobody can offer it."""

    subprotocol = ""
    ping = COMMENT
    # Nothing comes from such a client after its request.
    answers = False

    def __init__(self) -> None:
        self._phase = 0.0

    def return_ms(self) -> int:
        """Return when the next client comes back."""
        self._phase = (self._phase + _STEP) % 1.0
        return ceil(RETURN_MS + RETURN_SPREAD_MS * self._phase)

    def frame(self, fields: Mapping[str, Any]) -> bytes:
        """As Wire.frame."""
        return b"%b\0%b\0" % (_on_one_line(self.payload(fields)), fields["type"].encode())

    def shown(self, entry: Entry, channel: str, **fields: Any) -> bytes:
        """As Wire.shown."""
        frame = {"type": "event", "channel": channel, "offset": str(entry.position), **fields}
        return b"%b\0%b\0" % (_on_one_line(self.payload(frame)), _mark(entry, channel.encode()))

    def passed(self, offset: int, epoch: str) -> bytes:
        """As Wire.passed: the cursor goes on, so that who is cut, or polls, need not look at all that once more."""
        return self.position(offset, epoch)

    def farewell(self, code: CloseCode) -> bytes:
        """As Wire.farewell: there is no close frame, so the code stands in a `disconnect`."""
        if code in _ANNOUNCED:
            return b""
        return self.disconnect(code, self.return_ms() if code.reconnect else 0)

    def event_prefix(self, channel: str) -> bytes:
        """As Wire.event_prefix; the channel's name before it."""
        return channel.encode() + NUL + super().event_prefix(channel)

    def event_end(self, envelope: str) -> bytes:
        """As Wire.event_end, on one line."""
        return _on_one_line(super().event_end(envelope))

    def event(self, prefix: bytes, entry: Entry, envelope: bytes) -> bytes:
        """As Wire.event."""
        channel, _, prefix = prefix.partition(NUL)
        return b"%b%b\0%b\0" % (self.event_head(prefix, entry), envelope, _mark(entry, channel))


def _mark(entry: Entry, channel: bytes) -> bytes:
    """Write what an event in `channel` means for the cursor."""
    if isinstance(entry, LiveEntry):
        return b"room\x1f%d\x1f%b\x1f%b" % (entry.position, channel, entry.epoch.encode())
    return b"event\x1f%d\x1f%b\x1f%b" % (entry.position, channel, entry.channel.encode())


def _on_one_line(payload: bytes) -> bytes:
    """Write JSON without line ends, which it may have between values: they would be the stream's."""
    return payload if b"\n" not in payload and b"\r" not in payload else payload.translate(_NO_LINE_ENDS)
