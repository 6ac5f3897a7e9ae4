"""One process that simulates, as the hub holds it: given a share of the runs of a case after the other."""

from array import array
from typing import Any

import structlog

from core.processes.child import BROKEN, Child, NotStarted
from core.processes.held import Held
from handlers.twins.simulation.replication import Notable, Replication, SimulationError

_MODULE = "handlers.twins.simulation.worker"


class SimulatorLost(Exception):
    """The process could not be started, or has died: it says little about the case."""


class Simulator(Held):
    """A process that simulates: its work is a share of the runs of a case."""

    @classmethod
    async def start(cls, memory: int) -> "Simulator":
        """Start one that may take `memory` bytes; it takes about a second. Raises SimulatorLost."""
        try:
            return cls(await Child.start(_MODULE, memory))
        except NotStarted as error:
            raise SimulatorLost(f"It cannot be started: {error}") from error

    async def run(self, case: bytes, horizon: float, seed: int, first: int, runs: int) -> list[Replication]:
        """Have `runs` runs of a case (JSON) made, from number `first`. Raises SimulationError and SimulatorLost."""
        made: list[Replication] = []
        try:
            await self._child.say(["run", case, horizon, seed, first, runs])
            while (heard := await self._child.hear())[0] == "ran":
                made.append(_replication(heard))
        except BROKEN as error:
            self._child.is_last = True
            raise SimulatorLost("It has died") from error
        self._end(heard)
        return made

    def _end(self, heard: list[Any]) -> None:
        match heard:
            case ["done", is_last]:
                self._child.is_last = is_last
            case ["failed", code, message, is_last]:
                self._child.is_last = is_last
                raise SimulationError(code, message)
            case _:
                self._child.is_last = True
                structlog.get_logger().error("simulator_died", pid=self.pid, last_word=heard[-1])
                raise SimulatorLost("It has failed")


def _replication(heard: list[Any]) -> Replication:
    _, run, indicators, series, notable, steps = heard
    # As doubles: the hub holds all runs until it has the result, and a list of floats takes four times as much.
    held = {name: array("d", values) for name, values in series.items()}
    return Replication(run, indicators, held, [Notable(*each) for each in notable], steps)
