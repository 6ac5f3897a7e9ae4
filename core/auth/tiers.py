"""The tiers that an organisation can have, and the limits that come with each."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace


@dataclass(frozen=True, slots=True)
class Limits:
    """What an organisation may do: requests in an hour, requests at once, sockets and streams open together.

    `publishes_per_second` is of each connection, into rooms of one kind, and twice as many at once; of telemetry there are
    `telemetry_per_second`. `frames_per_second` and `bytes_per_second` are what the stream takes of each connection, of whatever
    kind; docs/overload.md says what of all of them together.
    """

    requests_per_hour: int
    burst: int
    concurrent_connections: int
    publishes_per_second: int = 20
    telemetry_per_second: int = 1_000
    frames_per_second: int = 2_000
    bytes_per_second: int = 4 * 1024 * 1024


TIERS: Mapping[str, Limits] = {
    "free": Limits(requests_per_hour=1_000, burst=100, concurrent_connections=10),
    "pro": Limits(requests_per_hour=10_000, burst=500, concurrent_connections=100),
    "enterprise": Limits(requests_per_hour=100_000, burst=2_000, concurrent_connections=1_000),
}
LIMIT_NAMES = tuple(item.name for item in fields(Limits))


def effective_limits(tier: str, overrides: Mapping[str, int]) -> Limits:
    """Return the tier's limits with the organisation's own in their place.

    Names that this release does not know are passed over: a later one may have stored them. Raises KeyError for an unknown tier.
    """
    known = {name: value for name, value in overrides.items() if name in LIMIT_NAMES}
    return replace(TIERS[tier], **known)
