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
        """As Wire.frame; an event that is not whole (view_rooms.py) is one too."""
        if fields["type"] == "event":
            channel = fields["channel"].encode()
            mark = b"event\x1f%b\x1f%b\x1f%b" % (fields["offset"].encode(), channel, channel)
            return b"%b\0%b\0" % (self.payload(fields), mark)
        return b"%b\0%b\0" % (self.payload(fields), fields["type"].encode())

    def farewell(self, code: CloseCode) -> bytes:
        """As Wire.farewell: there is no close frame, so the code stands in a `disconnect`."""
        if code in _ANNOUNCED:
            return b""
        return self.disconnect(code, self.return_ms() if code.reconnect else 0)

    def event_prefix(self, channel: str) -> bytes:
        """As Wire.event_prefix; the channel's name before it."""
        return channel.encode() + NUL + super().event_prefix(channel)

    def event_end(self, envelope: str) -> bytes:
        """As Wire.event_end, on one line: between values JSON may have line ends, which would be the stream's."""
        end = super().event_end(envelope)
        return end if b"\n" not in end and b"\r" not in end else end.replace(b"\n", b" ").replace(b"\r", b" ")

    def event(self, prefix: bytes, entry: Entry, envelope: bytes) -> bytes:
        """As Wire.event."""
        channel, _, prefix = prefix.partition(NUL)
        head = self.event_head(prefix, entry)
        if isinstance(entry, LiveEntry):
            mark = b"room\x1f%d\x1f%b\x1f%b" % (entry.position, channel, entry.epoch.encode())
        else:
            mark = b"event\x1f%d\x1f%b\x1f%b" % (entry.position, channel, entry.channel.encode())
        return b"%b%b\0%b\0" % (head, envelope, mark)
