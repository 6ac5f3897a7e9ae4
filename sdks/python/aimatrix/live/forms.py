"""The two forms of a frame, JSON and MessagePack. Wire form: docs/protocol.md."""

import json
from collections.abc import Mapping
from typing import Any, Protocol

from aimatrix.live.events import Frame


class Form(Protocol):
    """How a frame is written, and the subprotocol that says so."""

    subprotocol: str

    def written(self, frame: Mapping[str, Any]) -> str | bytes:
        """Return a message."""
        ...

    def read(self, message: str | bytes) -> Frame:
        """Return a frame. Raises ValueError where it is none."""
        ...


class JsonForm:
    """A JSON object in a text message."""

    subprotocol = "aimatrix.json"

    def written(self, frame: Mapping[str, Any]) -> str:
        """Return a text message."""
        return json.dumps(frame, separators=(",", ":"), ensure_ascii=False, allow_nan=False)

    def read(self, message: str | bytes) -> Frame:
        """Return a frame."""
        return _object(json.loads(message))


class PackedForm:
    """A MessagePack map in a binary message. Needs the extra `aimatrix[msgpack]`."""

    subprotocol = "aimatrix.msgpack"

    def __init__(self) -> None:
        # An extra, which who uses JSON need not have.
        import msgpack

        self._pack: Any = msgpack.packb
        self._unpack: Any = msgpack.unpackb

    def written(self, frame: Mapping[str, Any]) -> bytes:
        """Return a binary message."""
        return self._pack(frame)

    def read(self, message: str | bytes) -> Frame:
        """Return a frame."""
        return _object(self._unpack(message))


def _object(value: Any) -> Frame:
    if not isinstance(value, dict):
        raise ValueError("a frame is an object")
    return value


def form_of(name: str) -> Form:
    """Return the form `json` or `msgpack`. Raises ValueError for others, ImportError where the extra is missing."""
    if name == "json":
        return JsonForm()
    if name == "msgpack":
        return PackedForm()
    raise ValueError(f"there is no form {name!r}: json or msgpack")
