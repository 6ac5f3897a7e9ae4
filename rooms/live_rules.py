"""The built-in rules of live rooms, one entry a namespace: who reads, who publishes, how much, and what is kept of it.

What holds for an organisation is asked of rooms/namespaces.py: a file and the organisation may say otherwise.

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
    keyed             of `latest`: the keys are the members of this member of `data`; else
    key               what stands in this member of `data` is the event's key; without either there is one key
    publishes_per_second               of one connection, at most what the organisation's limits say; None: as those say
    organisation_publishes_per_second  of the whole organisation; None: no bound but that of each connection
    members_only      only who has subscribed publishes
    presence          who is there is kept and told
    wildcard          `<namespace>:*` may be joined
    is_edited         who has published may change and remove it, moderators may remove it: reading asks for that
    is_own            no built-in one: the operator, or the organisation, has made it
    is_stored         what clients publish is stored, and the hub tells the room what is newest
    part              what stands behind the id, and a slash
    is_shared         all rooms of an organisation arrive by one subscription: there are many, and each is quiet
    names             what stands after the colon: an id, a name, or a subject
    presence          who is there can be asked, and heard (docs/presence.md)
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
    key: str = ""
    publishes_per_second: int | None = None
    organisation_publishes_per_second: int | None = None
    members_only: bool = False
    presence: bool = False
    wildcard: bool = False
    is_edited: bool = False
    is_own: bool = False
    is_stored: bool = False
    part: str = ""
    is_shared: bool = False
    names: Literal["id", "name", "subject"] = "id"

    @property
    def kind(self) -> str:
        """What the types of what clients publish begin with: `chat.message`, `user.message`."""
        return self.namespace if self.is_own else self.namespace.removesuffix("s")


LIVE: Mapping[str, LiveRules] = {
    rules.namespace: rules
    for rules in (
        LiveRules("runs", "read:agents", None, 4_096, 1024 * KIB, HOUR, remembered=DAY, message_bytes=WHOLE_TEXT),
        LiveRules("sessions", "read:agents", None, 1_024, 1024 * KIB, HOUR, remembered=DAY, message_bytes=WHOLE_TEXT),
        LiveRules("simulations", "read:twins", None, 256, 512 * KIB, HOUR, remembered=DAY, message_bytes=256 * KIB),
        LiveRules(
            "chat", "read:streams", "write:streams", 512, 1024 * KIB, DAY, names="name", presence=True, is_edited=True
        ),
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
_SHARED = frozenset(name for name, rules in LIVE.items() if rules.is_shared)
# Of the namespaces of the log, which have no other rules: whether `<namespace>:*` may be joined.
LOG_WILDCARDS: Mapping[str, bool] = {"agents": True, "knowledge": True, "twins": True, "events": True}
# Of the subscription that all rooms of a shared namespace have together: what a node that lost Redis for a moment reads.
CARRIER = LiveRules("", None, None, 2_048, 1024 * KIB, 600)


def is_stored(channel: str) -> bool:
    """Tell whether what clients publish into a channel is stored first; False also where there is no such channel."""
    rules = LIVE.get(namespace_of(channel))  # no organisation changes that
    return rules is not None and rules.is_stored


def carrier_of(channel: str) -> str:
    """Name what carries a live channel to the nodes: the channel itself, or what all of its namespace share."""
    namespace = namespace_of(channel)
    return namespace if namespace in _SHARED else channel
