"""Looks at how a node is doing, five times a second, and sets its pressure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from core.clock import Clock
from core.pressure import Part, Pressure, Scale
from hub.overload.memory import Memory, give_back

LOOK_SECONDS = 0.2
# The memory that the allocator keeps is asked for this often while too much is used: it takes some milliseconds.
TRIM_SECONDS = 10.0
# Members of rooms that have yet to be written to: about two seconds' work of one core.
FANOUT_MARK = 400_000
# Of what may wait for slow readers: from there on the next thing is that the worst are cut.
WAITING_SHARE = 0.9
# For how long the relay has found more in the outbox than it takes at once.
OUTBOX_MARK_SECONDS = 10.0
_NEVER = float("inf")

# At which parts of its mark a measure ends debug, presence, latest, joins and publishes; docs/overload.md says why.
SCALES: Mapping[str, Scale] = {
    "lag": Scale((0.2, 0.4, 0.6, 1.0, 2.0)),
    # What is used falls slowly, if at all.
    "memory": Scale((0.85, 0.9, 0.95, 1.0, 1.08), ease=0.97),
    # Slow readers and what is behind end nobody's publishes.
    "waiting": Scale((0.5, 0.65, 0.8, 1.0, _NEVER)),
    "fanout": Scale((0.25, 0.4, 0.6, 1.0, 2.0)),
    "outbox": Scale((0.2, 0.4, 0.6, 1.0, _NEVER)),
}


@dataclass(frozen=True, slots=True)
class Measures:
    """What is asked at each look: seconds of lag, memory, bytes for slow readers, members to be written to, seconds of outbox.

    `lag_mark` in seconds and `waiting_mark` in bytes are the marks that settings give.
    """

    lag: Callable[[], float]
    memory: Memory
    waiting: Callable[[], int]
    fanout: Callable[[], int]
    outbox: Callable[[], float]
    lag_mark: float
    waiting_mark: int

    def shares(self) -> dict[str, float]:
        """Return each as a part of its mark."""
        return {
            "lag": self.lag() / self.lag_mark,
            "memory": self.memory.share,
            "waiting": self.waiting() / (self.waiting_mark * WAITING_SHARE),
            "fanout": self.fanout() / FANOUT_MARK,
            "outbox": self.outbox() / OUTBOX_MARK_SECONDS,
        }


class OverloadWatch:
    """Sets `pressure` from `measures`. `run` works until cancelled."""

    def __init__(self, pressure: Pressure, measures: Measures, clock: Clock) -> None:
        self._pressure = pressure
        self._measures = measures
        self._clock = clock
        self._trimmed_at = -TRIM_SECONDS
        self._log = structlog.get_logger()

    async def run(self) -> None:
        """Look again and again."""
        while True:
            self.look()
            await self._clock.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Look once; a change of the level is a line in the log."""
        before = self._pressure.level
        shares = self._measures.shares()
        if self._pressure.look(shares):
            level = self._pressure.level
            told = {name: round(share, 2) for name, share in shares.items()}
            tell = self._log.warning if level > before else self._log.info
            tell("pressure_changed", gives_up=names_upto(level), was=names_upto(before), **told)
        if shares["memory"] >= 1.0 and self._clock.monotonic() - self._trimmed_at >= TRIM_SECONDS:
            self._trimmed_at = self._clock.monotonic()
            give_back()


def names_upto(level: Part) -> list[str]:
    """Return what a level gives up, in words."""
    return [part.name.lower() for part in Part if Part.NONE < part <= level]
