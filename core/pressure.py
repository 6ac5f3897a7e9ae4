"""What the hub gives up when it has too much to do, and in which order: docs/overload.md.

    measures (0: nothing, 1: at its mark) -> Pressure.look -> level -> gives_up(part), asked by whoever does that part

Events of the log are no part: they are never given up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from random import Random
from typing import Protocol

from core.clock import Clock
from core.errors import HubError

# Who is refused comes again after so many seconds, and up to as many more: not all at once, nor before anything can be better.
RETRY_SECONDS = 3
RETRY_SPREAD_SECONDS = 7


class Part(IntEnum):
    """What is given up, the first first. A node at one level has given up all that stands before it too."""

    NONE = 0
    DEBUG = 1
    PRESENCE = 2
    LATEST = 3
    JOINS = 4
    PUBLISHES = 5


class Pressed(Protocol):
    """What those ask who do something that can be given up."""

    def gives_up(self, part: Part) -> bool:
        """Tell whether `part` is given up now. Cheap: one comparison."""
        ...

    def check(self, part: Part) -> None:
        """Raise HubError SERVICE_UNAVAILABLE, with when to come again, where `part` is given up now."""
        ...


@dataclass(frozen=True, slots=True)
class Scale:
    """At how much of its mark a measure brings each part's end, DEBUG first; JOINS stands at 1.

    A part comes back below `ease` times that.
    """

    steps: Sequence[float]
    ease: float = 0.7

    def level(self, value: float, easing: float = 1.0) -> Part:
        """Return the level that `value` means; `easing` moves all steps."""
        return Part(sum(value >= step * easing for step in self.steps))


class Pressure:
    """The level of one node: that of its worst measure. It rises at once, and falls by one part after `hold` seconds of ease.

    `look` is called again and again with all measures, as parts of their marks.
    """

    def __init__(
        self, clock: Clock, scales: Mapping[str, Scale], *, hold: float = 2.0, random: Random | None = None
    ) -> None:
        self._clock = clock
        self._scales = scales
        self._hold = hold
        self._random = random or Random()  # noqa: S311 - jitter
        self.level = Part.NONE
        self.values: Mapping[str, float] = dict.fromkeys(scales, 0.0)
        # How often each part was refused to somebody, and was given up.
        self.refused = dict.fromkeys(Part, 0)
        self.entered = dict.fromkeys(Part, 0)
        # Since when less than the level would do.
        self._eased_at: float | None = None

    def gives_up(self, part: Part) -> bool:
        """Tell whether `part` is given up now."""
        return self.level >= part

    def check(self, part: Part) -> None:
        """Raise HubError SERVICE_UNAVAILABLE, with when to come again, where `part` is given up now."""
        if self.level >= part:
            self.refused[part] += 1
            raise HubError("SERVICE_UNAVAILABLE", _REFUSALS[part], retry_after=self.retry_after())

    def retry_after(self) -> int:
        """Return after how many seconds one who is refused comes again: for each another number."""
        return RETRY_SECONDS + self._random.randint(0, RETRY_SPREAD_SECONDS)

    def look(self, values: Mapping[str, float]) -> bool:
        """Take what was measured, the measures of `scales`; tell whether that has changed the level."""
        self.values = values
        now, before = self._clock.monotonic(), self.level
        wanted = self._worst(values)
        if wanted >= before:
            self._eased_at = None
            self._move(wanted)
        elif self._eased(values) >= before:
            self._eased_at = None
        elif self._eased_at is None:
            self._eased_at = now
        elif now - self._eased_at >= self._hold:
            # Each part that comes back brings its work with it: the next one waits for what that makes.
            self._eased_at = now
            self.level = Part(before - 1)
        return self.level is not before

    def _move(self, level: Part) -> None:
        for part in Part:
            if self.level < part <= level:
                self.entered[part] += 1
        self.level = level

    def _worst(self, values: Mapping[str, float]) -> Part:
        return max((scale.level(values[name]) for name, scale in self._scales.items()), default=Part.NONE)

    def _eased(self, values: Mapping[str, float]) -> Part:
        found = (scale.level(values[name], scale.ease) for name, scale in self._scales.items())
        return max(found, default=Part.NONE)


class Calm:
    """Stands where nothing is ever given up."""

    def gives_up(self, part: Part) -> bool:
        """Tell that it is not."""
        return False

    def check(self, part: Part) -> None:
        """Let it pass."""


_REFUSALS = {
    Part.DEBUG: "The hub is too busy to be watched for the moment",
    Part.PRESENCE: "The hub is too busy to tell who is present for the moment",
    Part.LATEST: "The hub is too busy for this for the moment",
    Part.JOINS: "The hub is too busy for more streams and channels for the moment",
    Part.PUBLISHES: "The hub is too busy to publish this for the moment",
}
