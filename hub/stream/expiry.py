"""The end of a connection's credential: announced, then a grace, then over. No I/O."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf


@dataclass(frozen=True, slots=True)
class Expiring:
    """The credential ends at `at`, in `in_ms` (0: it has ended, and the grace runs)."""

    at: datetime
    in_ms: int


class Expiry:
    """Watches one credential after the other; times in seconds."""

    __slots__ = ("_announced", "_grace", "_warn_before")

    def __init__(self, warn_before: float, grace: float) -> None:
        self._warn_before = timedelta(seconds=warn_before)
        self._grace = timedelta(seconds=grace)
        self._announced: datetime | None = None

    def is_over(self, expires_at: datetime | None, now: datetime) -> bool:
        """Tell whether the credential and its grace have ended."""
        return expires_at is not None and now >= expires_at + self._grace

    def announcement(self, expires_at: datetime | None, now: datetime) -> Expiring | None:
        """Return what is to be announced now: once for each end."""
        if expires_at is None or expires_at == self._announced or now < expires_at - self._warn_before:
            return None
        self._announced = expires_at
        return Expiring(expires_at, max(0, round((expires_at - now).total_seconds() * 1000)))

    def next_in(self, expires_at: datetime | None, now: datetime) -> float:
        """Return in how many seconds to look again: `inf` where there is nothing to wait for."""
        if expires_at is None:
            return inf
        moment = expires_at + self._grace if expires_at == self._announced else expires_at - self._warn_before
        return max(0.0, (moment - now).total_seconds())
