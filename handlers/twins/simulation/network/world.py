"""The clock and the events of one run: SimPy's environment, with bounds.

What happens is a callback of an event, not a process that is resumed: an event then costs about half. At one moment the order is
that of the priorities, then that in which the events were made.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from simpy import Environment, Event
from simpy.events import EventPriority

from handlers.twins.simulation.replication import MOST_NOTABLE, Happening, Notable, SimulationError

MOST_STEPS = 2_000_000
# Orders that wait, units that are on their way, and what is in queues: what a run may hold at a time.
MOST_ENTITIES = 200_000

# First samples and changes, then what ends (goods arrive, services end), then reviews, then what comes anew.
MARK, ENDS, REVIEW, COMES = map(EventPriority, range(4))


class Moment(Event):
    """Something that happens: `about` is for its callback."""

    def __init__(self, world: "World", callback: Callable[["Moment"], None], about: Any) -> None:
        # All that SimPy's own constructor does, without the call.
        self.env = world
        self.callbacks = [callback]
        self._ok = True
        self._value = None
        self.about = about


class World(Environment):
    """A run's clock, and what a planner is told of it. `inside` counts who is in queues."""

    def __init__(self, reserved: int = 0) -> None:
        """`reserved`: so many notable events are changes, for which there must be room."""
        super().__init__(0.0)
        self._room = max(MOST_NOTABLE // 2, MOST_NOTABLE - reserved)
        self.time = 0.0
        self.steps = 0
        self.inside = 0
        self.notable: list[Notable] = []

    def at(self, time: float, priority: EventPriority, callback: Callable[[Moment], None], about: Any = None) -> None:
        """Let this happen at `time`, which is not before now; at infinity never."""
        heappush(self._queue, (time, priority, next(self._eid), Moment(self, callback, about)))

    def advance(self, horizon: float) -> None:
        """Let everything happen that is before `horizon`. SimulationError LIMIT_EXCEEDED after MOST_STEPS."""
        queue, steps = self._queue, self.steps
        while queue and queue[0][0] < horizon:
            self._now, _, _, event = heappop(queue)
            self.time = self._now
            steps += 1
            if steps > MOST_STEPS:
                raise SimulationError(
                    "LIMIT_EXCEEDED", f"A run has at most {MOST_STEPS:,} events; this one had them at {self.time:g}"
                )
            for callback in event.callbacks:
                callback(event)
        self.steps = steps
        self._now = self.time = horizon

    def check_waiting(self) -> None:
        """SimulationError LIMIT_EXCEEDED where more is to happen than a run may hold."""
        if len(self._queue) > MOST_ENTITIES:
            raise too_many()

    def note(self, what: Happening, node: str, value: float = 0.0) -> None:
        """Tell of something, as long as there is room for it."""
        if what in ("change_begins", "change_ends"):
            room = MOST_NOTABLE
        else:
            room, self._room = self._room, self._room - 1
        if room > 0 and len(self.notable) < MOST_NOTABLE:
            self.notable.append(Notable(self.time, what, node, value))


def too_many() -> SimulationError:
    """Return the error of a run that holds too much."""
    return SimulationError("LIMIT_EXCEEDED", f"A run holds at most {MOST_ENTITIES:,} orders, shipments and customers")
