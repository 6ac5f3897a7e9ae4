"""When those come back who are refused: so many a second, each at a time of its own."""

from math import ceil
from random import Random

from core.clock import Clock
from core.errors import HubError

# Clients do not wait longer than this, however many are refused; beyond it they are spread over the later half.
MAX_SLOT_SECONDS = 60.0


class NotNowError(HubError):
    """A stream is refused for the moment. `after_ms` is when its client comes back; REST's Retry-After has whole seconds."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__("SERVICE_UNAVAILABLE", message, retry_after=max(1, ceil(round(seconds, 3))))
        self.after_ms = round(seconds * 1000)


class Returns:
    """Hands out slots, `rate` a second, one after the other; what was handed out long ago counts no more."""

    def __init__(self, clock: Clock, rate: float, random: Random | None = None) -> None:
        self._clock = clock
        self._gap = 1 / rate
        self._random = random or Random()  # noqa: S311 - jitter
        self._next = 0.0

    def slot(self, least: float = 0.0) -> float:
        """Return after how many seconds to come back, `least` or more."""
        now = self._clock.monotonic()
        after = max(self._next, now + least) + self._gap - now
        if after > MAX_SLOT_SECONDS:
            return self._random.uniform(MAX_SLOT_SECONDS / 2, MAX_SLOT_SECONDS)
        self._next = now + after
        return after
