"""The numbers and small rules of a client of the stream, as docs/clients.md has them. Times are milliseconds."""

from collections.abc import Mapping
from typing import Any

CONNECT_MS = 20_000
JOIN_MS = 60_000
PING_MS = 25_000
PONG_MS = 10_000
# The answer to a ping after sleep: what waits for it has waited long.
QUICK_PONG_MS = 5_000
# A timer that comes later than this by so much was asleep with its machine.
ASLEEP_MS = 5_000
# A connection that was live for less did not help: the next pause is longer.
SETTLED_MS = 10_000
# Between two attempts, however often a network comes and goes.
SPACING_MS = 1_000
FIRST_PAUSE_MS = 500
LONGEST_PAUSE_MS = 30_000
# What a hub may ask a client to wait.
LONGEST_SLOT_MS = 3_600_000
RENEW_MS = 10_000
SOCKET_FAILURES = 3
SOCKET_AGAIN_MS = 60_000
SOCKET_AGAIN_MOST_MS = 600_000
MOST_CHANNELS_A_FRAME = 128
MOST_REQUESTS = 1_000

# A socket that ended without a close frame.
LOST = 1006
RENEW_FIRST = 4004
NOT_AUTHENTICATED = 4500
# Below 3000 the standard fixed the meaning, not a range (RFC 6455, section 7.4.1): after these the same attempt would fail again.
_STAY_AWAY = frozenset({1000, 1002, 1003, 1007, 1008, 1009, 1010})
_PASSING = frozenset({"SERVICE_UNAVAILABLE", "INTERNAL_ERROR", "TIMEOUT", "BAD_GATEWAY", "RATE_LIMIT_EXCEEDED"})
_OF_THE_CREDENTIAL = frozenset({4501, 4503})


def comes_back(code: int) -> bool:
    """Tell whether a client that saw this close code connects again by itself; holds for codes that it does not know."""
    if code < 3000:
        return code not in _STAY_AWAY
    return code % 1000 < 500


def is_of_credential(code: int) -> bool:
    """Tell whether a close code is about the credential."""
    return code in _OF_THE_CREDENTIAL


def passes(error: Mapping[str, Any]) -> bool:
    """Tell whether a refusal passes by itself."""
    return error.get("code") in _PASSING


def pause(failures: int, draw: float) -> int:
    """Return how long to wait after so many failures; `draw` is 0 to 1, so that no two clients come at once."""
    most = min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** min(failures, 16))
    return int(draw * most)


def is_beginning(kind: str) -> bool:
    """Tell whether an event stands where its channel is already, and says what was so far: it is no repeat."""
    return kind.endswith(".snapshot") or kind == "twin.telemetry"
