"""The processes of a node that simulate. The runs of a case are handed out in shares, so that several processes finish together.

Who waits is served in turn: the owner of whom the least is under way, then the case that was served longest ago. So one that has
a thousand runs does not hold up one that has ten.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import structlog

from core.clock import Clock
from core.deadline import within
from core.errors import HubError
from handlers.twins.simulation.model import Case
from handlers.twins.simulation.replication import Replication, SimulationError
from handlers.twins.simulation.simulator import Simulator, SimulatorLost

# A share takes about so long: progress is told, and others are served, after each.
SHARE_SECONDS = 0.25
MOST_SHARE = 50
# Of a share whose process has died: by chance, or by what it runs.
TRIES = 2


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one process: bytes of address space, and seconds without work; and how many cases may wait."""

    memory: int = 1 << 30
    idle: float = 60.0
    waiting: int = 200


@dataclass(frozen=True, slots=True)
class _Share:
    first: int
    runs: int
    tries: int = 0


@dataclass(eq=False, slots=True)
class _Work:
    """The runs of one case: which are not handed out yet, and what has come of the others."""

    owner: object
    case: bytes
    horizon: float
    seed: int
    runs: int
    progress: Callable[[int], None]
    ended: "asyncio.Future[None]"
    next: int = 0
    again: list[_Share] = field(default_factory=list[_Share])
    made: dict[int, Replication] = field(default_factory=dict[int, Replication])
    at_work: set[Simulator] = field(default_factory=set[Simulator])
    under_way: int = 0
    seconds_a_run: float | None = None

    @property
    def has_more(self) -> bool:
        return not self.ended.done() and (bool(self.again) or self.next < self.runs)

    def share(self, size: int) -> _Share:
        """Take the next share, of what `size` processes have left to do."""
        if self.again:
            return self.again.pop()
        left = self.runs - self.next
        wanted = 1 if self.seconds_a_run is None else int(SHARE_SECONDS / max(self.seconds_a_run, 1e-6))
        runs = max(1, min(wanted, MOST_SHARE, -(-left // (2 * size))))
        share = _Share(self.next, runs)
        self.next += runs
        return share

    def take(self, made: list[Replication], seconds: float) -> None:
        self.made |= {each.run: each for each in made}
        self.seconds_a_run = seconds / len(made)
        if self.ended.done():
            return
        self.progress(len(self.made))
        if len(self.made) == self.runs:
            self.ended.set_result(None)

    def fail(self, error: Exception) -> None:
        if not self.ended.done():
            self.ended.set_exception(error)

    def lost(self, share: _Share) -> None:
        """Have a share done again whose process has died, unless that was the second."""
        if share.tries + 1 < TRIES:
            self.again.append(_Share(share.first, share.runs, share.tries + 1))
        else:
            self.fail(HubError("SERVICE_UNAVAILABLE", "The process that simulated has died, twice", retry_after=5))


class Simulators:
    """At most `size` processes, started when there is something to do. To be closed."""

    def __init__(self, size: int, limits: Limits, clock: Clock) -> None:
        self._size = size
        self._limits = limits
        self._clock = clock
        self._works: list[_Work] = []  # who was served longest ago is the first
        self._idle: list[tuple[float, Simulator]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeping: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def pids(self) -> list[int]:
        """The processes that live."""
        busy = {each for work in self._works for each in work.at_work}
        return [each.pid for each in (*busy, *(idle for _, idle in self._idle))]

    async def run(
        self,
        case: Case,
        *,
        horizon: float,
        runs: int,
        seed: int,
        seconds: float,
        progress: Callable[[int], None],
        owner: object = None,
    ) -> list[Replication]:
        """Return the runs of a case in their order: the same, whatever the number of processes.

        `progress` is told how many are made. Raises SimulationError, and HubError: TIMEOUT after `seconds`, SERVICE_UNAVAILABLE
        where too many wait, no process is to be had, or the hub ends. Cancelled, its processes are ended.
        """
        if self._closed or len(self._works) >= self._limits.waiting:
            raise HubError("SERVICE_UNAVAILABLE", "Too many simulations wait", retry_after=5)
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        text = case.model_dump_json().encode()
        work = _Work(owner, text, horizon, seed, runs, progress, ended)
        self._works.append(work)
        self._hand_out()
        try:
            await within(self._clock, seconds, ended)
        except TimeoutError:
            raise HubError("TIMEOUT", f"It takes more than {seconds:g} s") from None
        finally:
            self._works.remove(work)
            await asyncio.shield(asyncio.gather(*(each.kill() for each in work.at_work)))
        return [work.made[run] for run in range(runs)]

    async def close(self) -> None:
        """End all processes; cases under way are given up."""
        self._closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        for work in self._works:
            work.fail(HubError("SERVICE_UNAVAILABLE", "The hub ends", retry_after=1))
        at_work = [each for work in self._works for each in work.at_work]
        idle, self._idle = self._idle, []
        await asyncio.gather(*(each.kill() for each in (*at_work, *(each for _, each in idle))))
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _hand_out(self) -> None:
        while len(self._tasks) < self._size and (work := self._next_work()) is not None:
            self._works.remove(work)
            self._works.append(work)
            work.under_way += 1
            task = asyncio.create_task(self._do(work, work.share(self._size)), name="share of a simulation")
            self._tasks.add(task)
            task.add_done_callback(partial(self._done, work))

    def _done(self, work: _Work, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if error := task.exception():
            work.fail(HubError("INTERNAL_ERROR"))
            structlog.get_logger().error("simulation_broke", exc_info=error)
        if not self._closed:
            self._hand_out()

    def _next_work(self) -> _Work | None:
        waiting = [work for work in self._works if work.has_more]
        busy: dict[object, int] = {}
        for work in self._works:
            busy[work.owner] = busy.get(work.owner, 0) + work.under_way
        # min() takes the first of equals: who was served longest ago.
        return min(waiting, key=lambda work: busy[work.owner], default=None)

    async def _do(self, work: _Work, share: _Share) -> None:
        simulator: Simulator | None = None
        try:
            simulator = await self._simulator()
            work.at_work.add(simulator)
            if not work.ended.done():
                began = self._clock.monotonic()
                made = await simulator.run(work.case, work.horizon, work.seed, share.first, share.runs)
                work.take(made, self._clock.monotonic() - began)
        except SimulatorLost:
            work.lost(share)
        except SimulationError as error:
            work.fail(error)
        finally:
            work.under_way -= 1
            if simulator is not None:
                work.at_work.discard(simulator)
                await self._left(simulator)

    async def _simulator(self) -> Simulator:
        while self._idle:
            _, simulator = self._idle.pop()
            if simulator.is_usable:
                return simulator
            await simulator.kill()
        simulator = await Simulator.start(self._limits.memory)
        if self._closed:
            await simulator.kill()
            raise SimulatorLost("The hub ends")
        return simulator

    async def _left(self, simulator: Simulator) -> None:
        if self._closed or not simulator.is_usable:
            await simulator.kill()
            return
        self._idle.append((self._clock.monotonic(), simulator))
        if self._sweeping is None or self._sweeping.done():
            self._sweeping = asyncio.create_task(self._sweep(), name="simulators without work")

    async def _sweep(self) -> None:
        """End those without work for long, until there are none."""
        while self._idle:
            await self._clock.sleep(self._limits.idle)
            until = self._clock.monotonic() - self._limits.idle
            ended = [each for since, each in self._idle if since <= until]
            self._idle = [each for each in self._idle if each[0] > until]
            await asyncio.gather(*(each.kill() for each in ended))
