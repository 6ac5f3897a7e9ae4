"""The window and the bucket of one organisation, counted in this process while Redis is away. No I/O, no clock.

The arithmetic is that of limiter.lua, in seconds.
"""

from dataclasses import dataclass
from math import ceil, floor

from core.quota import WINDOW_SECONDS


@dataclass(slots=True)
class Allowance:
    """What is used of a limit: in the window that began at `start`, and as a debt of the bucket at `at`; unix seconds."""

    start: int = 0
    used: int = 0
    debt: float = 0.0
    at: float = 0.0

    def move(self, now: float, per_hour: int) -> None:
        """Let time pass: a new window begins, the bucket refills."""
        start = int(now // WINDOW_SECONDS) * WINDOW_SECONDS
        if start != self.start:
            self.start, self.used = start, 0
        self.debt = max(0.0, self.debt - max(0.0, now - self.at) * per_hour / WINDOW_SECONDS)
        self.at = now

    def take(self, per_hour: int, burst: int, count: int, weight: int) -> int:
        """Take permits of this weight; return how many of the `count` there were."""
        if per_hour < 1 or burst < 1:
            return 0
        each = min(weight, per_hour, burst)
        fit = floor(min((per_hour - self.used) / each, (burst - self.debt) / each + 1e-6))
        granted = max(0, min(count, fit))
        self.used += granted * each
        self.debt += granted * each
        return granted

    def part(self, nodes: int) -> "Allowance":
        """Return one node's part of it."""
        return Allowance(self.start, ceil(self.used / nodes), self.debt / nodes, self.at)


def part_of(limit: int, nodes: int) -> int:
    """Return one node's part of a limit: at least one permit, where the limit is not 0."""
    return -(-limit // nodes)


def wait_for(per_hour: int, burst: int, weight: int, allowance: Allowance) -> float:
    """Return in how many seconds there is a permit of this weight: the bucket has it, and where need be the window has ended."""
    until_window = allowance.start + WINDOW_SECONDS - allowance.at
    if per_hour < 1 or burst < 1:
        return until_window
    each = min(weight, per_hour, burst)
    wait = (allowance.debt + each - burst) * WINDOW_SECONDS / per_hour
    return max(wait, until_window) if allowance.used + each > per_hour else wait
