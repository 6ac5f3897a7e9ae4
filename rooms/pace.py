"""How often something may be done: counted in this process, by a bucket."""

import math
from collections.abc import Callable
from uuid import UUID

from core.clock import Clock
from core.errors import HubError
from rooms.live_rules import LiveRules

# What may be published in so many seconds may come at once.
BURST_SECONDS = 2


class Pace:
    """How often something may be done: `burst` at once, `per_second` in the long run. Both may change with each `take`."""

    __slots__ = ("_at", "_clock", "_left")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left = math.inf
        self._at = clock.monotonic()

    def take(self, per_second: float, burst: float) -> None:
        """Count one; raises HubError RATE_LIMIT_EXCEEDED where it is one too many."""
        now = self._clock.monotonic()
        self._left = min(burst, self._left + (now - self._at) * per_second)
        self._at = now
        if self._left < 1:
            again = f": again in {(1 - self._left) / per_second:.2f} s" if per_second else ""
            raise HubError("RATE_LIMIT_EXCEEDED", f"Rate limit exceeded{again}", retry_after=1)
        self._left -= 1


class Paces:
    """Those of one client, by what it does."""

    __slots__ = ("_by_name", "_clock")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_name: dict[str, Pace] = {}

    def of(self, name: str) -> Pace:
        """Return the pace of what has this name."""
        pace = self._by_name.get(name)
        if pace is None:
            pace = self._by_name[name] = Pace(self._clock)
        return pace


class OrganisationPaces:
    """What organisations publish into namespaces that bound it, on this node: its part of what all nodes together let through.

    `nodes` says how many there are. Nothing is asked of Redis for it: where the publishers of an organisation stand on few of
    many nodes, they meet the bound early.
    """

    def __init__(self, clock: Clock, nodes: Callable[[], int] = lambda: 1) -> None:
        self.nodes = nodes
        self._clock = clock
        self._paces: dict[tuple[UUID, str], Pace] = {}

    def take(self, org_id: UUID, rules: LiveRules) -> None:
        """Count one event; raises HubError RATE_LIMIT_EXCEEDED where it is one too many."""
        most = rules.organisation_publishes_per_second
        if most is None:
            return
        key = (org_id, rules.namespace)
        pace = self._paces.get(key)
        if pace is None:
            pace = self._paces[key] = Pace(self._clock)
        per_second = most / max(1, self.nodes())
        pace.take(per_second, max(1.0, per_second * BURST_SECONDS))
