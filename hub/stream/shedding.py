"""Which of a client's commands are refused before they are done: what it sends too fast, and what the hub has given up."""

from collections.abc import Collection, Mapping
from datetime import datetime
from math import ceil
from typing import Any

from core.errors import HubError
from core.pressure import Part, Pressed
from hub.stream.commands import (
    Command,
    OfRoom,
    Publish,
    ReadPresence,
    Refusal,
    RefusedChannel,
    SayPresence,
    Subscribe,
    Violation,
)


def over_rate(seconds: float) -> HubError:
    """Return the refusal of what came too fast, and may come again after `seconds`."""
    message = f"Rate limit exceeded: this connection, or its organisation, sends too fast; again in {seconds:.2f} s"
    return HubError("RATE_LIMIT_EXCEEDED", message, retry_after=max(1, ceil(seconds)))


def error_object(refused: HubError, connection: str, now: datetime) -> Mapping[str, Any]:
    """Return what stands under `error` in a frame: REST's object, and what REST has in the header Retry-After."""
    told = refused.as_object(request_id=connection, now=now)
    return told if refused.retry_after is None else {**told, "retry_after": refused.retry_after}


def judged(command: Command, wait: float, pressure: Pressed, subscribed: Collection[str]) -> Command:
    """Return the command, or what is left of it. `wait`: in how many seconds it would be in time; `subscribed`: what it has."""
    match command:
        case Refusal() | Violation():
            return command
        case _ if wait:
            return Refusal(command.id, over_rate(wait))
        case ReadPresence() | SayPresence() if pressure.gives_up(Part.PRESENCE):
            return _refused(command, pressure, Part.PRESENCE)
        case Publish() if pressure.gives_up(Part.PUBLISHES):
            return _refused(command, pressure, Part.PUBLISHES)
        case Subscribe() if pressure.gives_up(Part.JOINS):
            return _without_joins(command, pressure, subscribed)
        case _:
            return command


def _refused(command: OfRoom, pressure: Pressed, part: Part) -> Command:
    try:
        pressure.check(part)
    except HubError as refused:
        return Refusal(command.id, refused)
    return command


def _without_joins(command: Subscribe, pressure: Pressed, subscribed: Collection[str]) -> Subscribe:
    """Refuse the channels that would be new; those that the client has are answered as ever."""
    try:
        pressure.check(Part.JOINS)
    except HubError as refused:
        items = (
            each
            if isinstance(each, RefusedChannel) or each.channel in subscribed
            else RefusedChannel(each.channel, refused)
            for each in command.items
        )
        return Subscribe(command.id, tuple(items))
    return command
