"""The two forms of the same frames: JSON in text messages, MessagePack in binary ones. No I/O here.

    Wire             what every server frame is, whatever its form
      JsonWire       aimatrix.json
      MsgpackWire    aimatrix.msgpack
      DeflatedWire   either of them, compressed (deflated_wire.py)

A node has one of each. A connection keeps the one that its client chose for its life.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

import msgpack
import orjson

from core import strict_json
from core.errors import HubError
from core.events.event import Entry
from hub.stream.codes import CloseCode
from hub.stream.frames import BINARY, PING_FRAME, TEXT, FrameId, frame_close, framed
from hub.stream.packed import unpacked
from rooms.live_wire import LiveEntry

# Envelopes that are kept packed, for those who catch up after each other, and the characters that each has at most.
KEPT_ENVELOPES, KEPT_CHARACTERS = 256, 64 * 1024


class Wire(ABC):
    """Writes the frames of the hub and reads those of clients, in one form. `kind` is that of its messages, TEXT or BINARY.

    An event frame is its head, which belongs to a channel, and the event, which is the same for all channels.
    """

    subprotocol: str
    kind: int
    # What keeps a silent connection alive, and whether its client answers that.
    ping: bytes = PING_FRAME
    answers: bool = True

    @abstractmethod
    def payload(self, fields: Mapping[str, Any]) -> bytes:
        """Return what one frame holds."""

    @abstractmethod
    def read(self, message: str | bytes) -> Any:
        """Return what a client's message holds. Raises HubError BAD_REQUEST, or UNSUPPORTED_MEDIA_TYPE for the other form's."""

    @abstractmethod
    def event_prefix(self, channel: str) -> bytes:
        """Return what every event frame of `channel` has before its offset."""

    @abstractmethod
    def event_head(self, prefix: bytes, entry: Entry) -> bytes:
        """Return what the frame of `entry` has before the event, for the channel of `prefix`.

        Who is in a live room without having subscribed knows its epoch from nowhere else, so it stands in those frames.
        """

    @abstractmethod
    def event_end(self, envelope: str) -> bytes:
        """Return the event of this envelope with what follows it, as it stands at the end of frames of any channel."""

    def frame(self, fields: Mapping[str, Any]) -> bytes:
        """Return one frame, framed."""
        return framed(self.payload(fields), self.kind)

    def farewell(self, code: CloseCode) -> bytes:
        """Return the end of a connection, whole."""
        return frame_close(code)

    def envelope(self, entry: Entry) -> bytes:
        """Return the end of the frames of `entry`, for `event`."""
        return self.event_end(entry.envelope)

    def event(self, prefix: bytes, entry: Entry, envelope: bytes) -> bytes:
        """Return the frame of `entry`, whose end is `envelope`, for the channel of `prefix`."""
        return framed(self.event_head(prefix, entry) + envelope, self.kind)

    def shown(self, entry: Entry, channel: str, **fields: Any) -> bytes:
        """Return the frame of `entry` as a view of `channel` shows it."""
        return self.reply("event", None, channel=channel, offset=str(entry.position), **fields)

    def passed(self, offset: int, epoch: str) -> bytes:
        """Return what tells how far channels of the log have caught up where a view hides the last events; mostly nothing."""
        del offset, epoch
        return b""

    def reply(self, type: str, frame_id: FrameId, **fields: Any) -> bytes:
        """Return a frame of `type`; `id` stands in it only where the client gave one."""
        head: dict[str, Any] = {"type": type}
        if frame_id is not None:
            head["id"] = frame_id
        return self.frame(head | fields)

    def error(self, frame_id: FrameId, error_object: Mapping[str, Any]) -> bytes:
        """Return the answer to a frame that is refused as a whole."""
        return self.reply("error", frame_id, error=error_object)

    def subscribed(self, frame_id: FrameId, channels: Sequence[Mapping[str, Any]]) -> bytes:
        """Return the answer to `subscribe`; each channel has an offset, an epoch and `recovered`, or an `error`."""
        return self.reply("subscribed", frame_id, channels=channels)

    def reset(self, channel: str, offset: int, epoch: str, reason: str) -> bytes:
        """Return the frame that tells that events of `channel` before `offset` will not come."""
        return self.reply("reset", None, channel=channel, offset=str(offset), epoch=epoch, reason=reason)

    def signal(self, channel: str, envelope: str) -> bytes:
        """Return the frame of an event that is not kept, and has no offset."""
        return self.reply("signal", None, channel=channel, event=orjson.Fragment(envelope))

    def position(self, offset: int, epoch: str) -> bytes:
        """Return the bookmark that counts for every channel of the log of the connection."""
        return self.reply("position", None, offset=str(offset), epoch=epoch)

    def disconnect(self, code: CloseCode, after_ms: int) -> bytes:
        """Return the announcement of a close, with the slot in which to come back."""
        return self.reply(
            "disconnect", None, code=code.code, reason=code.reason, reconnect=code.reconnect, after_ms=after_ms
        )

    def token_expiring(self, expires_at: str, expires_in_ms: int) -> bytes:
        """Return the warning that the credential ends; the time that is left too, since the client's clock may be wrong."""
        return self.reply("token_expiring", None, expires_at=expires_at, expires_in_ms=expires_in_ms)


class JsonWire(Wire):
    """Frames are JSON objects; an event's bytes are those of the log, unchanged."""

    subprotocol = "aimatrix.json"
    kind = TEXT

    def payload(self, fields: Mapping[str, Any]) -> bytes:
        """As Wire.payload."""
        return orjson.dumps(fields)

    def read(self, message: str | bytes) -> Any:
        """As Wire.read."""
        if isinstance(message, bytes):
            raise HubError("UNSUPPORTED_MEDIA_TYPE", "Frames are JSON in text messages, not binary ones")
        try:
            return strict_json.loads(message.encode())
        except orjson.JSONDecodeError as broken:
            raise HubError("BAD_REQUEST", "The frame is not JSON") from broken

    def event_prefix(self, channel: str) -> bytes:
        """As Wire.event_prefix."""
        return b'{"type":"event","channel":' + orjson.dumps(channel) + b',"offset":"'

    def event_head(self, prefix: bytes, entry: Entry) -> bytes:
        """As Wire.event_head."""
        if isinstance(entry, LiveEntry) and entry.epoch:
            return b'%b%d","epoch":"%b","event":' % (prefix, entry.position, entry.epoch.encode())
        return b'%b%d","event":' % (prefix, entry.position)

    def event_end(self, envelope: str) -> bytes:
        """As Wire.event_end."""
        return envelope.encode() + b"}"


class MsgpackWire(Wire):
    """Frames are MessagePack maps with the members that the JSON objects have."""

    subprotocol = "aimatrix.msgpack"
    kind = BINARY

    def __init__(self) -> None:
        self._packed = lru_cache(KEPT_ENVELOPES)(_packed)

    def payload(self, fields: Mapping[str, Any]) -> bytes:
        """As Wire.payload."""
        return _pack(fields)

    def read(self, message: str | bytes) -> Any:
        """As Wire.read."""
        if isinstance(message, str):
            raise HubError("UNSUPPORTED_MEDIA_TYPE", "Frames are MessagePack in binary messages, not text ones")
        return unpacked(message)

    def event_prefix(self, channel: str) -> bytes:
        """As Wire.event_prefix; the map's head is not in it, for its length differs."""
        return b"".join(map(_pack, ("type", "event", "channel", channel, "offset")))

    def event_head(self, prefix: bytes, entry: Entry) -> bytes:
        """As Wire.event_head."""
        offset = _pack(str(entry.position))
        if isinstance(entry, LiveEntry) and entry.epoch:
            return b"".join((b"\x85", prefix, offset, _EPOCH, _pack(entry.epoch), _EVENT))
        return b"".join((b"\x84", prefix, offset, _EVENT))

    def event_end(self, envelope: str) -> bytes:
        """As Wire.event_end; made once for all who want it meanwhile."""
        return self._packed(envelope) if len(envelope) <= KEPT_CHARACTERS else _packed(envelope)


def _pack(value: Any) -> bytes:
    # The stubs count None among the answers; only a packer that collects gives it.
    return cast("bytes", msgpack.packb(value, default=_of_json))


def _packed(envelope: str) -> bytes:
    return _pack(orjson.loads(envelope))


def _of_json(value: Any) -> Any:
    """Return the value that JSON text (orjson.Fragment), spliced into a frame, stands for."""
    return orjson.loads(orjson.dumps(value))


_EPOCH, _EVENT = _pack("epoch"), _pack("event")
