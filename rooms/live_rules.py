"""The rules of live rooms, one entry a namespace: who reads, who publishes, how much, and what is kept of it.

A live room has no log behind it: what is published goes straight through Redis, with a bounded history. A client that comes back
later than the history reaches is told so by `reset`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from core.events.event import namespace_of

HOUR = 3600
DAY = 24 * HOUR
KIB = 1024
# What the hub itself says may be all that an agent has written, 256 KiB of text: at worst six times as long as JSON.
WHOLE_TEXT = 2048 * KIB
# Of `twins:<id>/telemetry`.
TELEMETRY = "twins/telemetry"


@dataclass(frozen=True, slots=True)
class LiveRules:
    """One namespace.

    read_scope        what subscribing and history take; None: only the person whom the channel names
    publish_scope     what publishing takes; None: only the hub itself publishes
    history_*         what is kept at most, in events, bytes of envelopes, and seconds
    remembered        seconds after the last event for which offsets go on; afterwards a new epoch begins
    message_bytes     the largest `data`, as JSON without spaces
    delivery          `ordered`: every event in order, a slow reader is cut. `latest`: while a reader is slow, only the newest value
                      of each key waits for it; it is not cut for that
    keyed             of `latest`: the keys are the members of this member of `data`
    is_stored         what clients publish is stored, and the hub tells the room what is newest
    part              what stands behind the id, and a slash
    is_shared         all rooms of an organisation arrive by one subscription: there are many, and each is quiet
    names             what stands after the colon: an id, a name, or a subject
    """

    namespace: str
    read_scope: str | None
    publish_scope: str | None
    history_entries: int
    history_bytes: int
    history_seconds: int
    remembered: int = 7 * DAY
    message_bytes: int = 16 * KIB
    delivery: Literal["ordered", "latest"] = "ordered"
    keyed: str = ""
    is_stored: bool = False
    part: str = ""
    is_shared: bool = False
    names: Literal["id", "name", "subject"] = "id"


LIVE: Mapping[str, LiveRules] = {
    rules.namespace: rules
    for rules in (
        LiveRules("runs", "read:agents", None, 4_096, 1024 * KIB, HOUR, remembered=DAY, message_bytes=WHOLE_TEXT),
        LiveRules("sessions", "read:agents", None, 1_024, 1024 * KIB, HOUR, remembered=DAY, message_bytes=WHOLE_TEXT),
        LiveRules("simulations", "read:twins", None, 256, 512 * KIB, HOUR, remembered=DAY, message_bytes=256 * KIB),
        LiveRules("chat", "read:streams", "write:streams", 512, 1024 * KIB, DAY, names="name"),
        LiveRules(
            TELEMETRY,
            "read:twins",
            "write:twins",
            256,
            512 * KIB,
            HOUR,
            remembered=DAY,
            message_bytes=128 * KIB,
            delivery="latest",
            keyed="metrics",
            is_stored=True,
            part="telemetry",
        ),
        LiveRules("users", None, "write:streams", 128, 256 * KIB, DAY, names="subject", is_shared=True),
    )
}
# Of the subscription that all rooms of a shared namespace have together: what a node that lost Redis for a moment reads.
CARRIER = LiveRules("", None, None, 2_048, 1024 * KIB, 600)


def rules_of(channel: str) -> LiveRules | None:
    """Return the rules of a channel by its name; None where it is of no live namespace."""
    return LIVE.get(namespace_of(channel))


def is_stored(channel: str) -> bool:
    """Tell whether what clients publish into a channel is stored first; False also where there is no such channel."""
    rules = rules_of(channel)
    return rules is not None and rules.is_stored


def carrier_of(channel: str) -> str:
    """Name what carries a live channel to the nodes: the channel itself, or what all of its namespace share."""
    namespace = namespace_of(channel)
    return namespace if LIVE[namespace].is_shared else channel
