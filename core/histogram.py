"""Counts of durations, kept as plain integers: cheap to add to, read when somebody asks for metrics."""

from bisect import bisect_left
from collections.abc import Sequence

# Upper bounds in seconds, from a read that is answered from memory to the deadline of an operation.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Histogram:
    """How many values fell at or below each bound; `counts` has one more at its end, for those above all bounds."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float] = BOUNDS) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    def cumulative(self) -> list[tuple[str, int]]:
        """Return (upper bound, how many at or below it), the last with the bound `+Inf`, as Prometheus writes buckets."""
        names = [*map(str, self.bounds), "+Inf"]
        rising: list[tuple[str, int]] = []
        below = 0
        for name, count in zip(names, self.counts, strict=True):
            below += count
            rising.append((name, below))
        return rising
