"""When a message is sent again, and what an answer means."""

from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Literal

TIMEOUT_SECONDS = 15.0
# Before the second, third, ... attempt; PostgreSQL spreads each by a fifth (core/events/subscriptions/). Together 27.6 hours.
DELAYS = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 36_000.0)
MOST_ATTEMPTS = len(DELAYS) + 1
# Longer than an attempt and the noting of it can take: whose node has died is tried by another after this.
LEASE_SECONDS = 60.0
# A receiver that only fails for so long is sent nothing more until somebody enables it.
FAILING_SECONDS = 5 * 24 * 3600
# Of an answer so much is kept.
KEPT_BYTES = 4096
# A receiver that asks for a pause (429, 503 with Retry-After) gets one, but for no longer than this.
LONGEST_PAUSE_SECONDS = 3600.0

Verdict = Literal["delivered", "failed", "gone"]


@dataclass(frozen=True, slots=True)
class Sent:
    """How an attempt ended. `status` is None without an answer, then `answer` says why; `pause` is what the receiver asked for."""

    verdict: Verdict
    status: int | None
    answer: str
    seconds: float
    pause: float | None = None


def verdict_of(status: int) -> Verdict:
    """Return what a status means: 2xx is an acknowledgement, 410 the end, anything else a failure, redirects too."""
    if 200 <= status < 300:
        return "delivered"
    return "gone" if status == 410 else "failed"


def pause_of(status: int, headers: Mapping[str, str], now: float) -> float | None:
    """Return for how many seconds the receiver wants nothing (RFC 9110, section 10.2.3); `now` is the wall clock's."""
    text = headers.get("Retry-After")
    if text is None or status not in (429, 503):
        return None
    seconds = float(text) if text.isascii() and text.isdigit() and len(text) < 10 else _until(text, now)
    return None if seconds is None else min(max(seconds, 0.0), LONGEST_PAUSE_SECONDS)


def _until(text: str, now: float) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp() - now
    except (ValueError, OverflowError):
        return None
