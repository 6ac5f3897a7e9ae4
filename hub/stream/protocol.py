"""What a client's message asks for. No I/O, no clock: messages in, a command out; nothing raises.

    Protocol.receive -> Subscribe | Unsubscribe | Publish | History | ReadPresence | SayPresence | Call | Ack | Nack | Extend
                        | Authenticate | Ping | Refusal | Violation

A Refusal is answered with an error frame and the connection lives; a Violation ends it with a close code. Wire form:
docs/protocol.md.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson

from core.errors import HubError
from hub.stream.codes import AUTHENTICATION_FAILED, PROTOCOL_ABUSE, TOO_BIG
from hub.stream.commands import (
    Ack,
    Authenticate,
    Call,
    Command,
    Extend,
    History,
    Nack,
    Ping,
    Publish,
    ReadPresence,
    Refusal,
    RefusedChannel,
    SayPresence,
    Subscribe,
    Unsubscribe,
    Violation,
    Wanted,
)
from hub.stream.frames import FrameId
from hub.stream.members import (
    epoch_of,
    flag_of,
    holds_of,
    input_of,
    invalid,
    limit_of,
    name_of,
    offset_of,
    seconds_of,
    shown,
    text_of,
)
from hub.stream.viewed import wanted_of
from hub.stream.wires import Wire
from rooms.presence.page import MOST_OF_A_PAGE, PAGE


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what one client may send; they protect the node."""

    frame_bytes: int = 64 * 1024
    channels: int = 128
    # A frame that names more than this is refused whole, so that the answer stays of the request's order of size.
    items: int = 512
    id_characters: int = 64
    channel_characters: int = 264
    history: int = 256
    members: int = MOST_OF_A_PAGE
    operation_characters: int = 64
    key_characters: int = 255
    calls: int = 16
    deliveries: int = 1_000
    delay_seconds: float = 24 * 3600.0
    extension_seconds: float = 12 * 3600.0
    reason_characters: int = 4096
    token_characters: int = 16 * 1024
    bad_frames_in_a_row: int = 100
    authentications: int = 3


# Raises HubError where the caller may not have the channel.
Admit = Callable[[str], None]
_Parser = Callable[[Any, FrameId, Mapping[str, Any]], Command]


class Protocol:
    """Reads the frames of one connection.

    `subscribed` is the connection's own live view of its channels: the protocol counts it and never changes it. Until
    `admit` is set, after authentication, every frame but `authenticate` is refused.
    """

    __slots__ = ("_bad_in_a_row", "_failed_authentications", "_subscribed", "_wire", "admit", "limits")

    def __init__(self, subscribed: Collection[str], limits: Limits, wire: Wire) -> None:
        self.admit: Admit | None = None
        self.limits = limits
        self._subscribed = subscribed
        self._wire = wire
        self._bad_in_a_row = 0
        self._failed_authentications = 0

    def receive(self, message: str | bytes) -> Command:
        """Return what one message asks for. Text messages are str, binary ones bytes."""
        if _is_over(message, self.limits.frame_bytes):
            return Violation(TOO_BIG)
        command = self._read(message)
        if not isinstance(command, Refusal):
            self._bad_in_a_row = 0
            return command
        self._bad_in_a_row += 1
        if self._bad_in_a_row >= self.limits.bad_frames_in_a_row:
            return Violation(PROTOCOL_ABUSE, command)
        return command

    def refused_credential(self, refusal: Refusal) -> Refusal | Violation:
        """Count a credential that was not good; the third ends the connection."""
        self._failed_authentications += 1
        if self._failed_authentications >= self.limits.authentications:
            return Violation(AUTHENTICATION_FAILED, refusal)
        return refusal

    def _read(self, message: str | bytes) -> Command:
        frame_id: FrameId = None
        try:
            frame = self._object_of(message)
            frame_id = self._id_of(frame)
            kind = frame.get("type")
            if not isinstance(kind, str):
                raise HubError("BAD_REQUEST", "A frame has a `type`, a string")
            parser = self.parsers.get(kind)
            if self.admit is None and kind != "authenticate":
                raise HubError("AUTHENTICATION_REQUIRED", "Send an authenticate frame first")
            if parser is None:
                raise HubError("UNKNOWN_FRAME_TYPE", f"There is no frame type {shown(kind)}")
            return parser(self, frame_id, frame)
        except HubError as refused:
            # Its traceback, and what it was raised from, hold the frame's text until garbage is collected.
            refused.__cause__ = refused.__context__ = None
            return Refusal(frame_id, refused.with_traceback(None))

    def _object_of(self, message: str | bytes) -> dict[str, Any]:
        frame = self._wire.read(message)
        if not isinstance(frame, dict):
            raise HubError("BAD_REQUEST", "A frame is an object")
        return frame

    def _id_of(self, frame: Mapping[str, Any]) -> FrameId:
        value = frame.get("id")
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        if isinstance(value, str) and len(value) <= self.limits.id_characters:
            return value
        raise HubError(
            "BAD_REQUEST", f"`id` is an integer or a string of at most {self.limits.id_characters} characters"
        )

    def _items_of(self, frame: Mapping[str, Any]) -> list[Any]:
        items = frame.get("channels")
        if items is None:
            raise invalid("channels", "MISSING_REQUIRED_FIELD", "A list of channels is needed")
        if not isinstance(items, list) or not items:
            raise invalid("channels", "INVALID_FORMAT", "It is a list with at least one channel")
        if len(items) > self.limits.items:
            raise HubError("TOO_MANY_CHANNELS", f"A frame names at most {self.limits.items} channels")
        return items

    def _subscribe(self, frame_id: FrameId, frame: Mapping[str, Any]) -> Command:
        items: dict[str, Wanted | RefusedChannel] = {}
        joining = 0
        for index, item in enumerate(self._items_of(frame)):
            name = name_of(item, index)
            if name in items:
                continue
            is_new = name not in self._subscribed
            items[name] = self._wanted(
                name, item, is_full=is_new and len(self._subscribed) + joining >= self.limits.channels
            )
            joining += is_new and isinstance(items[name], Wanted)
        return Subscribe(frame_id, tuple(items.values()))

    def _wanted(self, name: str, item: Any, *, is_full: bool) -> Wanted | RefusedChannel:
        try:
            if len(name) > self.limits.channel_characters:
                raise HubError("CHANNEL_NOT_FOUND")
            if self.admit is not None:
                self.admit(name)
            if is_full:
                raise HubError("TOO_MANY_CHANNELS", f"A connection has at most {self.limits.channels} channels")
            return wanted_of(name, {} if isinstance(item, str) else item)
        except HubError as refused:
            return RefusedChannel(name, refused)

    def _unsubscribe(self, frame_id: FrameId, frame: Mapping[str, Any]) -> Command:
        names = dict.fromkeys(name_of(item, index) for index, item in enumerate(self._items_of(frame)))
        return Unsubscribe(frame_id, tuple(names))

    def _channel(self, frame: Mapping[str, Any]) -> str:
        name = frame.get("channel")
        if name is None:
            raise invalid("channel", "MISSING_REQUIRED_FIELD", "The name of a channel is needed")
        if not isinstance(name, str):
            raise invalid("channel", "INVALID_FORMAT", "It is a name")
        if len(name) > self.limits.channel_characters:
            raise HubError("CHANNEL_NOT_FOUND")
        return name

    def _publish(self, frame_id: FrameId, frame: Mapping[str, Any]) -> Command:
        channel = self._channel(frame)
        if "data" not in frame:
            raise invalid("data", "MISSING_REQUIRED_FIELD", "What is published is needed")
        try:
            data = orjson.dumps(frame["data"])
        except orjson.JSONEncodeError as too_deep:
            raise invalid("data", "INVALID_FORMAT", "It is nested too deeply") from too_deep
        return Publish(frame_id, channel, data, flag_of(frame, "ephemeral"))

    def _presence(self, frame_id: FrameId, frame: Mapping[str, Any]) -> Command:
        channel, data = self._channel(frame), frame.get("data")
        if data is None:
            limit = limit_of(frame, PAGE, self.limits.members)
            return ReadPresence(frame_id, channel, text_of(frame, "after", self.limits.channel_characters), limit)
        if not isinstance(data, dict):
            raise invalid("data", "INVALID_FORMAT", "It is an object")
        try:
            return SayPresence(frame_id, channel, orjson.dumps(data))
        except orjson.JSONEncodeError as too_deep:
            raise invalid("data", "INVALID_FORMAT", "It is nested too deeply") from too_deep

    def _history(self, frame_id: FrameId, frame: Mapping[str, Any]) -> Command:
        limit = limit_of(frame, 50, self.limits.history)
        channel, offset, before = self._channel(frame), offset_of(frame), offset_of(frame, "before")
        if offset is not None and before is not None:
            raise invalid("before", "INVALID_FORMAT", "Either `offset` or `before`, not both")
        return History(frame_id, channel, offset, epoch_of(frame), before, limit)

    def _call(self, frame_id: FrameId, frame: Mapping[str, Any]) -> Command:
        operation = text_of(frame, "operation", self.limits.operation_characters)
        if operation is None:
            raise invalid("operation", "MISSING_REQUIRED_FIELD", "The name of an operation is needed")
        key = text_of(frame, "idempotency_key", self.limits.key_characters)
        return Call(frame_id, operation, input_of(frame), key)

    def _message(self, frame_id: FrameId, frame: Mapping[str, Any]) -> Command:
        named = {name: frame[name] for name in _OF_A_MESSAGE if frame.get(name) is not None}
        key = text_of(frame, "idempotency_key", self.limits.key_characters)
        return Call(frame_id, "sessions.send", {"id": self._named(frame, "session"), **named}, key)

    def _cancel(self, frame_id: FrameId, frame: Mapping[str, Any]) -> Command:
        named = [name for name in ("execution", "session") if frame.get(name) is not None]
        if len(named) > 1:
            raise invalid("session", "INVALID_FORMAT", "Either `execution` or `session`, not both")
        what = named[0] if named else "execution"
        return Call(frame_id, f"{what}s.cancel", {"id": self._named(frame, what)}, None)

    def _named(self, frame: Mapping[str, Any], field: str) -> str:
        id = text_of(frame, field, self.limits.operation_characters)
        if id is None:
            raise invalid(field, "MISSING_REQUIRED_FIELD", "An id is needed")
        return id

    def _ack(self, frame_id: FrameId, frame: Mapping[str, Any]) -> Command:
        return Ack(frame_id, self._channel(frame), holds_of(frame, self.limits.deliveries))

    def _nack(self, frame_id: FrameId, frame: Mapping[str, Any]) -> Command:
        delay = seconds_of(frame, "delay_seconds", 0.0, self.limits.delay_seconds)
        reason = text_of(frame, "reason", self.limits.reason_characters)
        named = self._channel(frame), holds_of(frame, self.limits.deliveries)
        return Nack(frame_id, *named, delay, reason, flag_of(frame, "dead_letter"))

    def _extend(self, frame_id: FrameId, frame: Mapping[str, Any]) -> Command:
        seconds = seconds_of(frame, "seconds", 1.0, self.limits.extension_seconds)
        if seconds is None:
            raise invalid("seconds", "MISSING_REQUIRED_FIELD", "A number of seconds is needed")
        return Extend(frame_id, self._channel(frame), holds_of(frame, self.limits.deliveries), seconds)

    def _authenticate(self, frame_id: FrameId, frame: Mapping[str, Any]) -> Command:
        token = frame.get("token")
        if token is None:
            raise invalid("token", "MISSING_REQUIRED_FIELD", "A key or token is needed")
        if not isinstance(token, str) or not 0 < len(token) <= self.limits.token_characters:
            raise invalid(
                "token", "INVALID_FORMAT", f"It is a string of 1 to {self.limits.token_characters} characters"
            )
        return Authenticate(frame_id, token)

    def _ping(self, frame_id: FrameId, frame: Mapping[str, Any]) -> Command:
        return Ping(frame_id)

    parsers: ClassVar[Mapping[str, _Parser]] = {
        "subscribe": _subscribe,
        "unsubscribe": _unsubscribe,
        "publish": _publish,
        "history": _history,
        "presence": _presence,
        "call": _call,
        "message": _message,
        "cancel": _cancel,
        "ack": _ack,
        "nack": _nack,
        "extend": _extend,
        "authenticate": _authenticate,
        "ping": _ping,
    }


CLIENT_FRAMES = tuple(Protocol.parsers)
# What a message hands on as it is: the operation says what is wrong with it.
_OF_A_MESSAGE = ("text", "parent_id", "attachments")


def _is_over(message: str | bytes, most: int) -> bool:
    if isinstance(message, bytes):
        return len(message) > most
    # A character is at most four bytes of UTF-8: only long messages are worth encoding.
    return len(message) * 4 > most and len(message.encode("utf-8", "replace")) > most
