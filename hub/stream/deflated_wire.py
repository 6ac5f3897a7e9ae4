"""A form of frames, compressed: what clients get that agreed to permessage-deflate (RFC 7692). No I/O here.

An event is compressed once, whatever the channels and however many the clients: the head of a frame, which differs, stands before
it as a stored block. Frames that gain nothing, or too little for their price, are sent plain, which may be decided for each.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from core.events.event import Entry
from hub.stream.counts import StreamCounts
from hub.stream.deflate import STORED_BYTES, deflated, stored
from hub.stream.frames import COMPRESSED, framed
from hub.stream.wires import KEPT_ENVELOPES, Wire

# An event for all: 5 us once. At 200 bytes a fifth of the frame is saved, below it ever less.
LEAST_EVENT_BYTES = 200
# A frame for one client: under half of it is left, for 8 us.
LEAST_FRAME_BYTES = 1024
# About 2 ms; above it others would wait for one client's answer.
MOST_FRAME_BYTES = 256 * 1024


class DeflatedWire(Wire):
    """The frames of `plain`, compressed where that pays."""

    def __init__(self, plain: Wire, counts: StreamCounts) -> None:
        self.subprotocol = plain.subprotocol
        self.kind = plain.kind
        self._plain = plain
        self._counts = counts
        self._ends = lru_cache(KEPT_ENVELOPES)(self._compressed_end)

    def payload(self, fields: Mapping[str, Any]) -> bytes:
        """As Wire.payload; not compressed."""
        return self._plain.payload(fields)

    def read(self, message: str | bytes) -> Any:
        """As Wire.read; what comes was inflated before (inflation.py)."""
        return self._plain.read(message)

    def event_prefix(self, channel: str) -> bytes:
        """As Wire.event_prefix."""
        return self._plain.event_prefix(channel)

    def event_head(self, prefix: bytes, entry: Entry) -> bytes:
        """As Wire.event_head."""
        return self._plain.event_head(prefix, entry)

    def event_end(self, envelope: str) -> bytes:
        """As Wire.event_end; compressed once for all who want it meanwhile."""
        return self._ends(envelope)

    def frame(self, fields: Mapping[str, Any]) -> bytes:
        """As Wire.frame."""
        payload = self.payload(fields)
        if LEAST_FRAME_BYTES <= len(payload) <= MOST_FRAME_BYTES:
            packed = self._deflated(payload)
            if len(packed) < len(payload):
                return framed(packed, self.kind | COMPRESSED)
        return framed(payload, self.kind)

    def event(self, prefix: bytes, entry: Entry, envelope: bytes) -> bytes:
        """As Wire.event."""
        head = self.event_head(prefix, entry)
        if isinstance(envelope, _Compressed):
            return framed(stored(head) + envelope, self.kind | COMPRESSED)
        return framed(head + envelope, self.kind)

    def _compressed_end(self, envelope: str) -> bytes:
        end = self._plain.event_end(envelope)
        if not LEAST_EVENT_BYTES <= len(end) <= MOST_FRAME_BYTES:
            return end
        packed = self._deflated(end)
        return _Compressed(packed) if len(packed) + STORED_BYTES < len(end) else end

    def _deflated(self, payload: bytes) -> bytes:
        self._counts.compressions += 1
        return deflated(payload)


class _Compressed(bytes):
    """The end of an event frame that is compressed."""

    __slots__ = ()
