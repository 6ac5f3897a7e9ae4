"""From what is measured to what is given up, on a clock in the hand."""

import asyncio
import contextlib
from dataclasses import dataclass, field

from core.pressure import Part, Pressure
from hub.insight.loop_lag import TICK_SECONDS, TICKS, LoopLag
from hub.overload.figures import metrics_of, shown
from hub.overload.memory import Memory
from hub.overload.watch import FANOUT_MARK, OUTBOX_MARK_SECONDS, SCALES, Measures, OverloadWatch
from tests.harness.clock import ManualClock


@dataclass
class Machine:
    """What is measured."""

    lag: float = 0.0
    memory: int = 0
    waiting: int = 0
    fanout: int = 0
    outbox: float = 0.0
    pressure: Pressure = field(init=False)
    watch: OverloadWatch = field(init=False)

    def begin(self, clock: ManualClock) -> None:
        measures = Measures(
            lag=lambda: self.lag,
            memory=Memory(lambda: self.memory, 1000),
            waiting=lambda: self.waiting,
            fanout=lambda: self.fanout,
            outbox=lambda: self.outbox,
            lag_mark=0.5,
            waiting_mark=1000,
        )
        self.pressure = Pressure(clock, SCALES)
        self.watch = OverloadWatch(self.pressure, measures, clock)


def machine(clock: ManualClock) -> Machine:
    made = Machine()
    made.begin(clock)
    return made


async def test_each_measure_ends_joins_at_its_mark(clock: ManualClock):
    """A little below it ends latest; nothing ends anything where there is little to do."""
    marks = {"lag": 0.5, "memory": 1000, "waiting": 900, "fanout": FANOUT_MARK, "outbox": OUTBOX_MARK_SECONDS}
    for name, mark in marks.items():
        made = machine(clock)
        setattr(made, name, mark * 0.1)
        made.watch.look()
        assert made.pressure.level is Part.NONE, name
        setattr(made, name, mark * 0.96)
        made.watch.look()
        assert made.pressure.level is Part.LATEST, name
        setattr(made, name, mark)
        made.watch.look()
        assert made.pressure.level is Part.JOINS, name


async def test_only_what_publishes_make_worse_ends_them(clock: ManualClock):
    """Slow readers and an outbox that is full are no matter of who publishes into rooms."""
    for name, ends in {"lag": True, "memory": True, "waiting": False, "fanout": True, "outbox": False}.items():
        made = machine(clock)
        setattr(made, name, 100 * FANOUT_MARK)
        made.watch.look()
        assert made.pressure.gives_up(Part.PUBLISHES) is ends, name


async def test_it_looks_again_and_again(clock: ManualClock):
    """And what was given up comes back."""
    made = machine(clock)
    running = asyncio.create_task(made.watch.run())
    try:
        made.lag = 10.0
        await clock.advance(0.3)
        assert made.pressure.level is Part.PUBLISHES
        made.lag = 0.0
        await clock.advance(15)
        assert made.pressure.level is Part.NONE
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def test_memory_that_falls_slowly_is_enough(clock: ManualClock):
    """An allocator keeps what it has: joins come back a little below the mark."""
    made = machine(clock)
    made.memory = 1000
    made.watch.look()
    made.memory = 965
    for _ in range(4):
        await clock.advance(1)
        made.watch.look()
    assert made.pressure.level is Part.LATEST


async def test_one_pause_is_no_lag(clock: ManualClock):
    """A collection of garbage, say: what counts is late again and again."""
    late: list[float] = []

    class Late(ManualClock):
        async def sleep(self, seconds: float) -> None:
            await super().sleep(seconds + (late.pop(0) if late else 0.0))

    slow = Late()
    lag = LoopLag(slow)
    running = asyncio.create_task(lag.run())
    try:
        late += [0.0] * 5 + [3.0] + [0.0] * 20
        await slow.advance(5)
        assert lag.recent < 0.001
        late += [0.7] * TICKS
        await slow.advance(TICKS * (0.7 + TICK_SECONDS))
        assert 0.69 < lag.recent < 0.71
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def test_what_is_told_of_it(clock: ManualClock):
    """In /metrics and /healthz."""
    made = machine(clock)
    made.lag = 0.3
    made.watch.look()
    assert shown(made.pressure)["gives_up"] == ["debug", "presence", "latest"]
    assert shown(made.pressure)["measures"]["lag"] == 0.6
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in metrics_of(made.pressure)
        for sample in family.samples
    }
    assert samples["hub_pressure_level",] == 3
    assert samples["hub_pressure", "lag"] == 0.6
    assert samples["hub_pressure_entered_total", "latest"] == 1
    assert samples["hub_pressure_entered_total", "joins"] == 0
    assert samples["hub_pressure_refused_total", "joins"] == 0
