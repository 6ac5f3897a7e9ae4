"""Which clients are still there: pinged when they were silent, given up when that changes nothing. No I/O, no clock.

heard --ping seconds--> ping --pong seconds--> dead       anything that comes, or is taken, begins anew
"""

from enum import Enum

# A step of the golden ratio, again and again modulo 1, covers the range evenly and never in step with anything.
_STEP = 0.6180339887498949


class Pulse(Enum):
    """What is to be done now."""

    ALIVE = "nothing"
    PING = "ping it"
    DEAD = "give it up"


class Rhythm:
    """The times of all heartbeats of a node, in seconds.

    A client is pinged after between `ping - spread` and `ping` of silence: those that came together are not pinged together.
    """

    __slots__ = ("_phase", "ping", "pong", "spread")

    def __init__(self, *, ping: float, spread: float, pong: float) -> None:
        self.ping = ping
        self.spread = spread
        self.pong = pong
        self._phase = 0.0

    def draw(self) -> float:
        """Return how long the next silence may be."""
        self._phase = (self._phase + _STEP) % 1.0
        return self.ping - self.spread * self._phase


class Heartbeat:
    """One client; `heard_at` is when something of it came last, set by whoever reads.

    One that never `answers` lives as long as it takes what it is sent.
    """

    __slots__ = ("_answers", "_is_asked", "_look_at", "_rhythm", "_silence", "_unread", "heard_at")

    def __init__(self, rhythm: Rhythm, now: float, *, answers: bool = True) -> None:
        self.heard_at = now
        self._answers = answers
        self._rhythm = rhythm
        self._silence = rhythm.draw()
        self._look_at = 0.0
        self._is_asked = False
        self._unread = 0

    @property
    def next(self) -> float:
        """When to look again."""
        return self._look_at if self._is_asked else self.heard_at + self._silence

    def look(self, now: float, unread: int) -> Pulse:
        """Return what is to be done at `now`. `unread` counts the bytes that it was sent and has not taken from the network.

        One that takes them lives, however slowly it comes to the ping that stands behind them.
        """
        if self._is_asked and self.heard_at >= self._look_at - self._rhythm.pong:
            self._is_asked = False
        if not self._is_asked:
            if now < self.heard_at + self._silence:
                return Pulse.ALIVE
            self._is_asked = True
            self._silence = self._rhythm.draw()
            self._wait(now, unread)
            return Pulse.PING
        if now < self._look_at:
            return Pulse.ALIVE
        if not self._answers and not unread:
            self._is_asked, self.heard_at = False, self._look_at - self._rhythm.pong
            return Pulse.ALIVE
        if unread >= self._unread:
            return Pulse.DEAD
        self._wait(now, unread)
        return Pulse.ALIVE

    def _wait(self, now: float, unread: int) -> None:
        self._look_at = now + self._rhythm.pong
        self._unread = unread
