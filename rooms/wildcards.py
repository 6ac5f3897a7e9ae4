"""Channels that stand for several: `agents:*`, `events:order-*`.

Who subscribes to one gets what happens in every channel whose name begins with what stands before the star, and hears of it under
the name that was asked for: the event's subject tells the resource. A caller that is restricted to some resources gets those.
"""

from core.events.event import APPLICATION_NAMESPACE, namespace_of

STAR = "*"
_OF_THE_LOG = frozenset({"agents", "knowledge", "twins", APPLICATION_NAMESPACE})


def is_wildcard(channel: str) -> bool:
    """Tell whether the name stands for several channels; in no other name of a channel of the log there is a star."""
    return channel.endswith(STAR) and namespace_of(channel) in _OF_THE_LOG


def prefix_of(channel: str) -> str | None:
    """Return what the names of the channels begin with that it stands for; None where it stands for itself."""
    return channel.removesuffix(STAR) if is_wildcard(channel) else None


def source_of(channel: str) -> str:
    """Return the channel that brings everything of this one: of `agents:*` it is `agents`, of others it is themselves."""
    return namespace_of(channel) if is_wildcard(channel) else channel
