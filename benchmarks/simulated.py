"""Simulated events a second: one queue with one server, by the hub's engine and by bare SimPy as its tutorials write it."""

import random
from collections.abc import Generator
from dataclasses import dataclass
from time import perf_counter

import simpy

from handlers.twins.simulation.engine import replicate
from handlers.twins.simulation.model import Case

LOAD = 0.8


@dataclass(frozen=True, slots=True)
class Simulated:
    """What a run came to. An event is a customer who comes, or one who has been served: the same for each engine."""

    events: int
    seconds: float
    mean_wait: float

    @property
    def a_second(self) -> float:
        return self.events / self.seconds


def queue_case(horizon: float) -> Case:
    """Return M/M/1 at LOAD."""
    arrivals = {"kind": "arrivals", "to": "desk", "interval": {"distribution": "exponential", "mean": 1}}
    desk = {"kind": "queue", "service": {"distribution": "exponential", "mean": LOAD}, "capacity": 100_000}
    return Case.model_validate(
        {"model": {"engine": "network", "horizon": horizon, "nodes": {"door": arrivals, "desk": desk}}}
    )


def the_engine(horizon: float, seed: int = 1) -> Simulated:
    """Run the queue in the hub's engine, its checks, series and indicators counted."""
    case = queue_case(horizon)
    begin = perf_counter()
    found = replicate(case, horizon=horizon, seed=seed, run=0).indicators
    seconds = perf_counter() - begin
    return Simulated(int(found["desk.arrived"] + found["desk.served"]), seconds, found["desk.mean_wait"])


class _Bare:
    """The queue as a process for each customer: no series, and one number is kept."""

    def __init__(self, seed: int) -> None:
        self._draws = random.Random(seed)
        self.environment = simpy.Environment()
        self._desk = simpy.Resource(self.environment, 1)
        self.arrived = self.served = 0
        self.waited = 0.0

    def customers(self) -> Generator[simpy.Event, None, None]:
        environment, draws = self.environment, self._draws
        while True:
            yield environment.timeout(draws.expovariate(1.0))
            self.arrived += 1
            environment.process(self._customer())

    def _customer(self) -> Generator[simpy.Event, None, None]:
        environment = self.environment
        came = environment.now
        with self._desk.request() as asked:
            yield asked
            self.waited += environment.now - came
            yield environment.timeout(self._draws.expovariate(1 / LOAD))
        self.served += 1


def bare_simpy(horizon: float, seed: int = 1) -> Simulated:
    """Run the queue in bare SimPy."""
    bare = _Bare(seed)
    begin = perf_counter()
    bare.environment.process(bare.customers())
    bare.environment.run(until=horizon)
    seconds = perf_counter() - begin
    return Simulated(bare.arrived + bare.served, seconds, bare.waited / max(1, bare.served))
