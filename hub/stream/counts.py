"""What all streams of a node did since its start: plain integers, added to where it happens, read for metrics."""

from collections import Counter
from dataclasses import dataclass, field

from hub.stream.inbound import Inbound
from rooms.presence.counts import PresenceCounts


@dataclass(slots=True)
class StreamCounts:
    """`deliveries` are event frames written by the fan-out; `frames_out` and `bytes_out` count everything that was written.

    `closed` is by close code of the hub, 0 where the client was first; `recoveries` of channels that had missed something, by where
    from: `ring`, `log` (PostgreSQL), `room`. `silent` are clients that were given up. `consumers` are those who take part in a
    durable subscription now; `consumed` counts its deliveries: `delivered`, and then `acked`, `nacked`, `expired`, or `returned`
    since the consumer left.
    """

    opened: int = 0
    silent: int = 0
    handshakes_waiting: int = 0
    handshakes_refused: int = 0
    frames_in: int = 0
    bytes_in: int = 0
    refused: int = 0
    deliveries: int = 0
    frames_out: int = 0
    bytes_out: int = 0
    compressions: int = 0
    closed: Counter[int] = field(default_factory=Counter[int])
    recoveries: Counter[str] = field(default_factory=Counter[str])
    resets: Counter[str] = field(default_factory=Counter[str])
    consumers: int = 0
    consumed: Counter[str] = field(default_factory=Counter[str])
    # What came too fast.
    inbound: Inbound = field(default_factory=Inbound)
    # Tasks of durable subscriptions that have died, and were started again.
    consuming_restarts: int = 0
    presence: PresenceCounts = field(default_factory=PresenceCounts)

    def wrote(self, size: int, frames: int = 1) -> None:
        """Count what was written to one client."""
        self.frames_out += frames
        self.bytes_out += size

    def delivered(self, members: int, frames: int, size: int) -> None:
        """Count one joined write of `frames` events, `size` bytes, to each of `members`."""
        self.deliveries += members * frames
        self.frames_out += members * frames
        self.bytes_out += members * size
