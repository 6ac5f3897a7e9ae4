"""How much an endpoint is sent at once: more while it takes everything, nothing while it takes nothing. No I/O, no clock.

    closed     LIMIT_AT_FIRST at once; one more with each success up to MOST_AT_ONCE, half as many after a failure
    open       after FAILURES in a row: nothing, for a time that doubles up to LONGEST_SECONDS
    half open  then one message, as a probe: a success closes, a failure opens for longer

What is not sent meanwhile is not attempted: it stays due, and none of its attempts is used up.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

State = Literal["closed", "open", "half_open"]

LIMIT_AT_FIRST = 4
MOST_AT_ONCE = 32
FAILURES = 5
FIRST_SECONDS = 5.0
LONGEST_SECONDS = 60.0


@dataclass(eq=False, slots=True)
class Circuit:
    """One endpoint's, on one node. `now` is monotonic seconds everywhere; `spread` gives 0 to 1, for jitter."""

    spread: Callable[[], float] = random.random
    limit: int = field(default=LIMIT_AT_FIRST, init=False)
    _failures: int = field(default=0, init=False)
    _open_until: float | None = field(default=None, init=False)
    _open_seconds: float = field(default=FIRST_SECONDS, init=False)
    _paused_until: float = field(default=float("-inf"), init=False)

    def state(self, now: float) -> State:
        """Return the state at this moment."""
        if self._open_until is None:
            return "closed"
        return "open" if now < self._open_until else "half_open"

    def room(self, now: float, in_flight: int) -> int:
        """Return how many messages may be sent now beside those that are on their way."""
        if now < self._paused_until:
            return 0
        match self.state(now):
            case "closed":
                return max(0, self.limit - in_flight)
            case "open":
                return 0
            case "half_open":
                return 1 if in_flight == 0 else 0

    def next_at(self, now: float) -> float:
        """Return when there may be room again, where only time can bring it."""
        return max(now, self._paused_until, self._open_until or now)

    def succeeded(self) -> None:
        """Note an acknowledgement: it answers, so whatever the state was it is closed."""
        if self._open_until is not None:
            self.limit = 1
        self.limit = min(self.limit + 1, MOST_AT_ONCE)
        self._failures = 0
        self._open_until = None
        self._open_seconds = FIRST_SECONDS

    def failed(self, now: float) -> None:
        """Note a failure. One that was on its way when the circuit opened tells nothing new."""
        match self.state(now):
            case "closed":
                self.limit = max(1, self.limit // 2)
                self._failures += 1
                if self._failures >= FAILURES:
                    self._open(now)
            case "open":
                pass
            case "half_open":
                self._open_seconds = min(self._open_seconds * 2, LONGEST_SECONDS)
                self._open(now)

    def pause(self, now: float, seconds: float) -> None:
        """Send nothing for so long, since the endpoint has asked for that."""
        self._paused_until = max(self._paused_until, now + seconds)

    def _open(self, now: float) -> None:
        # Endpoints that one failure has closed do not come back all together.
        self._open_until = now + self._open_seconds * (0.8 + 0.4 * self.spread())
