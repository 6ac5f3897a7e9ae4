"""Makes what looks at how a node is doing, from its parts."""

from core.clock import Clock
from core.events.relay import Relay
from core.pressure import Pressure
from core.settings import Settings
from hub.insight.loop_lag import LoopLag
from hub.overload.memory import MIB, memory_of
from hub.overload.watch import Measures, OverloadWatch
from hub.stream.door import StreamDoor
from hub.stream.fanout import Fanout


def overload_of(
    pressure: Pressure,
    settings: Settings,
    clock: Clock,
    *,
    lag: LoopLag,
    door: StreamDoor,
    fanout: Fanout,
    relay: Relay,
) -> OverloadWatch:
    """Return it, with the marks of the settings."""
    measures = Measures(
        lag=lambda: lag.recent,
        memory=memory_of(settings.memory_mib),
        waiting=lambda: door.waiting.bytes,
        fanout=lambda: fanout.behind,
        outbox=lambda: relay.late,
        lag_mark=settings.overload_lag_ms / 1000,
        waiting_mark=settings.waiting_mib * MIB,
    )
    return OverloadWatch(pressure, measures, clock)
