"""The processes that simulate: the same bytes whatever their number, in turn, and ended when nobody wants what they do."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest

from core.clock import Clock, SystemClock
from core.errors import HubError
from handlers.twins.simulation.model import Arrivals, Case, Exponential, Flow, Flows, Level, Network, Queue
from handlers.twins.simulation.pool import Limits, Simulators
from handlers.twins.simulation.replication import Replication, SimulationError
from handlers.twins.simulation.samples import SUPPLY_CHAIN
from tests.harness.clock import ManualClock
from tests.harness.waiting import eventually

LIMITS = Limits()
CHAIN = Case(model=SUPPLY_CHAIN.model)
# Over a million steps a run: some seconds.
LONG = Case(
    model=Network(
        engine="network",
        horizon=90_000.0,
        nodes={
            "calls": Arrivals(kind="arrivals", to="desk", interval=Exponential(distribution="exponential", mean=0.15)),
            "desk": Queue(kind="queue", service=Exponential(distribution="exponential", mean=0.12)),
        },
    )
)


@asynccontextmanager
async def pool(size: int = 2, *, limits: Limits = LIMITS, clock: Clock | None = None) -> AsyncGenerator[Simulators]:
    simulators = Simulators(size, limits, clock or SystemClock())
    try:
        yield simulators
    finally:
        await simulators.close()


def unheard(_made: int) -> None:
    """Take progress that nobody wants."""


async def runs_of(
    simulators: Simulators, case: Case, runs: int, *, progress: Callable[[int], None] = unheard, owner: object = None
) -> list[Replication]:
    return await simulators.run(
        case, horizon=case.model.horizon, runs=runs, seed=7, seconds=60.0, progress=progress, owner=owner
    )


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("size", [2, 3])
async def test_number_of_processes_changes_nothing(size: int):
    """Each run has its own draws, and they come back in their order."""
    async with pool(1) as alone, pool(size) as several:
        assert await runs_of(alone, CHAIN, 12) == await runs_of(several, CHAIN, 12)


async def test_progress_is_told_up_to_the_end():
    """It never goes back."""
    told: list[int] = []
    async with pool() as simulators:
        made = await runs_of(simulators, CHAIN, 9, progress=told.append)
    assert [each.run for each in made] == list(range(9))
    assert told == sorted(told)
    assert told[-1] == 9


async def test_killed_process_costs_its_share_only():
    """Another one does it again, and the bytes are the same."""
    async with pool() as simulators:
        wanted = await runs_of(simulators, CHAIN, 40)
        running = asyncio.create_task(runs_of(simulators, CHAIN, 40))
        await eventually(lambda: len(simulators.pids) == 2)
        os.kill(simulators.pids[0], signal.SIGKILL)
        assert await running == wanted


async def test_process_that_dies_again_is_told():
    """What it runs may be why."""
    async with pool(1) as simulators:
        running = asyncio.create_task(runs_of(simulators, LONG, 1))
        for _ in range(2):
            await eventually(lambda: len(simulators.pids) == 1)
            pid = simulators.pids[0]
            os.kill(pid, signal.SIGKILL)
            await eventually(lambda pid=pid: pid not in simulators.pids)
        with pytest.raises(HubError) as caught:
            await running
        assert caught.value.code == "SERVICE_UNAVAILABLE"


async def test_cancelled_case_ends_its_processes():
    """At once, and those who wait have their turn."""
    async with pool(1) as simulators:
        running = asyncio.create_task(runs_of(simulators, LONG, 5))
        await eventually(lambda: len(simulators.pids) == 1)
        (pid,) = simulators.pids
        waiting = asyncio.create_task(runs_of(simulators, CHAIN, 2))
        running.cancel()
        assert len(await waiting) == 2
        assert not lives(pid)


async def test_case_that_takes_too_long_is_ended(clock: ManualClock):
    """By the hub's clock, not by what it says of itself."""
    async with pool(1, clock=clock) as simulators:
        running = asyncio.create_task(runs_of(simulators, LONG, 5))
        await eventually(lambda: len(simulators.pids) == 1)
        (pid,) = simulators.pids
        await clock.advance(61)
        with pytest.raises(HubError) as caught:
            await running
        assert caught.value.code == "TIMEOUT"
        assert not lives(pid)


async def test_small_case_is_not_behind_a_large_one():
    """Shares are handed out in turn."""
    async with pool(1) as simulators:
        ended: list[str] = []

        async def one(name: str, runs: int) -> None:
            await runs_of(simulators, CHAIN, runs, owner=name)
            ended.append(name)

        async with asyncio.TaskGroup() as group:
            group.create_task(one("large", 300))
            await eventually(lambda: len(simulators.pids) == 1)
            group.create_task(one("small", 3))
        assert ended == ["small", "large"]


async def test_what_is_wrong_with_a_run_is_told_and_the_process_goes_on():
    """As the engine says it."""
    broken = Flows(
        engine="flows",
        horizon=10.0,
        stocks={"level": Level(initial=1.0)},
        flows={"out": Flow(source="level", rate="1 / (level - level)")},
    )
    async with pool(1) as simulators:
        with pytest.raises(SimulationError):
            await runs_of(simulators, Case(model=broken), 1)
        (pid,) = simulators.pids
        assert await runs_of(simulators, CHAIN, 1)
        assert simulators.pids == [pid]


async def test_idle_processes_end(clock: ManualClock):
    """After a minute without work."""
    async with pool(1, clock=clock) as simulators:
        await runs_of(simulators, CHAIN, 1)
        (pid,) = simulators.pids
        await clock.advance(121)
        await eventually(lambda: not lives(pid))
        assert simulators.pids == []


async def test_too_many_that_wait_are_refused():
    """Rather than that all wait for ever."""
    async with pool(1, limits=Limits(waiting=1)) as simulators:
        running = asyncio.create_task(runs_of(simulators, LONG, 1))
        await eventually(lambda: len(simulators.pids) == 1)
        with pytest.raises(HubError) as caught:
            await runs_of(simulators, CHAIN, 1)
        assert caught.value.code == "SERVICE_UNAVAILABLE"
        running.cancel()


async def test_too_little_memory_is_told():
    """A process that cannot begin is started twice, then it is said."""
    async with pool(1, limits=Limits(memory=1 << 20)) as simulators:
        with pytest.raises(HubError) as caught:
            await runs_of(simulators, CHAIN, 1)
        assert caught.value.code == "SERVICE_UNAVAILABLE"
