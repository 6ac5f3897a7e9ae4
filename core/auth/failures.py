"""How often credentials may be wrong: a bound for each address that they come from, in this node's memory.

Only failures count, and only failures are refused by it: a good credential is looked at and taken, whatever else its address sends.
"""

import ipaddress
import math

from core.addresses import parse_address
from core.auth.bounded import BoundedCache
from core.clock import Clock

# So many at once, then one a second.
MOST_AT_ONCE = 60
PER_SECOND = 1.0
# Addresses that are remembered; an entry ends by itself when its failures are forgiven.
SIZE = 10_000


class Failures:
    """The failures of each address, as a bucket that drains; one for each node."""

    def __init__(self, clock: Clock, *, size: int = SIZE) -> None:
        self._clock = clock
        # When an address has nothing left to be forgiven.
        self._clear_at: BoundedCache[str, float] = BoundedCache(size)

    def count(self, address: str) -> int | None:
        """Count a failure; return None, or in how many seconds the next one is counted where this is one too many."""
        now = self._clock.monotonic()
        source = _source_of(address)
        if source is None:
            return None
        clear_at = max(self._clear_at.get(source, now) or now, now) + 1 / PER_SECOND
        over = clear_at - now - MOST_AT_ONCE / PER_SECOND
        if over > 0:
            return max(1, math.ceil(over))
        self._clear_at.put(source, clear_at, clear_at)
        return None


def _source_of(address: str) -> str | None:
    """Return what failures of an address count for: of IPv6 its /64, which is one client's; None for this machine's own."""
    parsed = parse_address(address)
    if parsed is None or parsed.is_loopback:
        return None
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
