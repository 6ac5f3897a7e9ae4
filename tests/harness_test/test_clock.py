"""The manual clock moves only when it is told to, and fires in order."""

import asyncio

from tests.harness.clock import ManualClock


async def test_sleepers_fire_in_the_order_of_their_time():
    """Whoever is due first runs first, and what it starts settles before the next one is woken."""
    clock = ManualClock()
    seen: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        seen.append((name, clock.monotonic() - 1000.0))

    tasks = [asyncio.create_task(sleeper(name, seconds)) for name, seconds in (("b", 2), ("a", 1), ("c", 3))]
    await clock.advance(2.5)
    assert seen == [("a", 1.0), ("b", 2.0)]
    await clock.advance(0.5)
    assert [name for name, _ in seen] == ["a", "b", "c"]
    await asyncio.gather(*tasks)


async def test_repeated_sleeper_fires_as_often_as_its_time_passes():
    """A loop that sleeps 15 s runs four times in a minute that is advanced at once."""
    clock = ManualClock()
    ticks = 0

    async def ticker() -> None:
        nonlocal ticks
        while True:
            await clock.sleep(15)
            ticks += 1

    task = asyncio.create_task(ticker())
    await clock.advance(60)
    assert ticks == 4
    task.cancel()


async def test_wall_time_jumps_without_waking_anybody():
    """An administrator who sets the clock shortens nobody's wait."""
    clock = ManualClock()
    before = clock.now()
    task = asyncio.create_task(clock.sleep(10))
    await clock.settle()
    clock.jump(-3600)
    await clock.settle()
    assert (clock.now() - before).total_seconds() == -3600
    assert clock.monotonic() == 1000.0
    assert clock.sleeping == 1
    task.cancel()


async def test_cancelled_sleeper_is_forgotten():
    """A cancelled wait neither fires nor counts."""
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(10))
    await clock.settle()
    task.cancel()
    await clock.advance(20)
    assert task.cancelled()
    assert clock.sleeping == 0
