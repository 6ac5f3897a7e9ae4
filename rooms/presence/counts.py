"""What the presence of a node did since its start: plain integers, read for metrics."""

from dataclasses import dataclass


@dataclass(slots=True)
class PresenceCounts:
    """`connections` are those that are registered here now, with those that linger; `diffs` came for rooms that are heard here.

    `reaped` are connections of dead nodes that this one removed. `lost_leases` are the times that this node was taken for dead, or
    that Redis had forgotten it, in one organisation: all that is there was registered again.
    """

    connections: int = 0
    diffs: int = 0
    reaped: int = 0
    lost_leases: int = 0
