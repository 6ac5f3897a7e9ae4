"""The presence of a node, put together."""

from core.clock import Clock
from core.pressure import Pressed
from core.store.redis import Redis
from hub.stream.fanout import Fanout
from hub.stream.presence_listeners import NodePresence, PresenceListeners
from rooms.namespaces import Namespaces
from rooms.presence.presence import GRACE_SECONDS, Presence
from rooms.presence.store import PresenceStore
from rooms.switch import Switch


def presence_of(
    redis: Redis,
    switch: Switch,
    fanout: Fanout,
    clock: Clock,
    *,
    namespaces: Namespaces | None = None,
    grace: float = GRACE_SECONDS,
    pressure: Pressed | None = None,
) -> NodePresence:
    """Return the presence of a node whose `fanout` writes to its sockets; `grace` in seconds."""
    listeners = PresenceListeners(fanout, pressure=pressure, clock=clock)
    rooms = Presence(
        PresenceStore(redis),
        switch=switch,
        clock=clock,
        sink=listeners,
        counts=fanout.counts.presence,
        grace=grace,
        namespaces=namespaces,
        pressure=pressure,
    )
    return NodePresence(rooms, listeners)
