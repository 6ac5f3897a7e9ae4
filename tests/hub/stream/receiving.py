"""A protocol that knows a few channels, and what it makes of a message."""

import json
from typing import Any

from core.errors import HubError
from hub.stream.commands import (
    Command,
)
from hub.stream.protocol import Limits, Protocol
from hub.stream.wires import JsonWire, MsgpackWire, Wire

KNOWN = ("agents", "knowledge", "twins")
JSON_WIRE, PACKED_WIRE = JsonWire(), MsgpackWire()


def admit(channel: str) -> None:
    if not channel.startswith(KNOWN):
        raise HubError("CHANNEL_NOT_FOUND")


def protocol(
    *subscribed: str, limits: Limits | None = None, is_authenticated: bool = True, wire: Wire = JSON_WIRE
) -> Protocol:
    made = Protocol(dict.fromkeys(subscribed).keys(), limits or Limits(), wire)
    made.admit = admit if is_authenticated else None
    return made


def receive(frame: Any, *subscribed: str, is_authenticated: bool = True) -> Command:
    text = frame if isinstance(frame, str | bytes) else json.dumps(frame)
    return protocol(*subscribed, is_authenticated=is_authenticated).receive(text)
