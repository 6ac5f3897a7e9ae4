"""Where a channel is: an offset in a life of it. Wire form: docs/protocol.md, "Subscribing" and "Bookmarks"."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """What follows `offset` (decimal digits) in the life `epoch` is still to come. Offsets of two epochs are never compared."""

    offset: str
    epoch: str


_OF_THE_LOG = frozenset({"agents", "knowledge", "twins", "events"})


def is_of_the_log(channel: str) -> bool:
    """Tell whether a channel's offsets are positions of the organisation's log."""
    kind, _, rest = channel.partition(":")
    return kind in _OF_THE_LOG and not (kind == "twins" and rest.endswith("/telemetry"))


def is_consumed(channel: str) -> bool:
    """Tell whether the hub knows where the channel goes on: a durable subscription has no offset to give."""
    return channel.startswith("subscriptions:")


def is_after(offset: str, other: str) -> bool:
    """Compare offsets of one epoch."""
    return int(offset) > int(other)
