"""Times and bounds that go for every socket of a node."""

from dataclasses import dataclass, field

from core.settings import Settings
from hub.stream.protocol import Limits

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """Times in seconds, sizes in bytes. What waits for clients is bounded for each, for an organisation's together, and for all.

    A client that was silent for `ping`, or up to `ping_spread` less, is pinged, and given up when nothing came in `pong` then.
    """

    frames: Limits = field(default_factory=Limits)
    ping: float = 25.0
    ping_spread: float = 5.0
    pong: float = 8.0
    handshakes_per_turn: int = 2
    handshakes_waiting: int = 2000
    handshakes_per_second: float = 1000.0
    authenticate_within: float = 10.0
    warn_before_expiry: float = 60.0
    grace_after_expiry: float = 10.0
    position_every: float = 30.0
    close_within: float = 5.0
    waiting_bytes: int = 4 * 1024 * 1024
    waiting_age: float = 10.0
    waiting_bytes_of_organisation: int = 64 * 1024 * 1024
    waiting_bytes_of_node: int = 256 * 1024 * 1024


def stream_settings(settings: Settings) -> StreamSettings:
    """Return what the hub's settings say of its sockets."""
    return StreamSettings(
        handshakes_waiting=settings.handshakes_waiting,
        handshakes_per_second=float(settings.handshakes_per_second),
        waiting_bytes_of_node=settings.waiting_mib * _MIB,
        waiting_bytes_of_organisation=settings.waiting_mib_per_organisation * _MIB,
    )
