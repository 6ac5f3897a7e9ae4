"""A bucket of permits that fills with time. No clock: whoever asks says what time it is."""


class Bucket:
    """`left` permits, at most `burst`; below 0 is a debt. Rate and burst may change with each look."""

    __slots__ = ("_at", "left")

    def __init__(self, now: float, left: float) -> None:
        self.left = left
        self._at = now

    def fill(self, now: float, rate: float, burst: float) -> float:
        """Let time pass; return what is there. `rate` is in permits a second."""
        if now > self._at:
            self.left = min(burst, self.left + (now - self._at) * rate)
            self._at = now
        return self.left
