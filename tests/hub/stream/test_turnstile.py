"""So many a turn, by owners in turn."""

import asyncio
from collections import Counter

from hub.stream.turnstile import Turnstile


async def turns_of(turnstile: Turnstile[str], owners: list[str]) -> tuple[list[str], list[int]]:
    """Return who came in which order, and how many had come after each turn of the loop."""
    came: list[str] = []

    async def enter(owner: str) -> None:
        await turnstile.enter(owner)
        came.append(owner)

    tasks = [asyncio.create_task(enter(owner)) for owner in owners]
    sizes: list[int] = []
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0)
        sizes.append(len(came))
    return came, sizes


async def test_no_more_go_on_in_a_turn():
    """What else the loop has to do comes between."""
    came, sizes = await turns_of(Turnstile(3), ["a"] * 20)
    assert len(came) == 20
    assert max(after - before for before, after in zip([0, *sizes], sizes, strict=False)) <= 3


async def test_one_of_another_waits_for_one_turn_only():
    """However many of one came before."""
    came, _ = await turns_of(Turnstile(2), ["noisy"] * 100 + ["quiet"])
    assert came.index("quiet") <= 4
    assert Counter(came) == {"noisy": 100, "quiet": 1}


async def test_who_went_takes_nobodys_turn():
    """Cancelled, it is passed over."""
    turnstile = Turnstile[str](1)
    tasks = [asyncio.create_task(turnstile.enter("a")) for _ in range(5)]
    await asyncio.sleep(0)
    for task in tasks[1:4]:
        task.cancel()
    await asyncio.wait_for(asyncio.gather(tasks[0], tasks[4]), 5)
    assert len(turnstile) == 0


async def test_permits_are_asked_for_and_waited_for():
    """Where there are none, nothing turns until somebody says that there are more."""
    permits, stopped = 2, 0

    def may_go() -> bool:
        nonlocal permits
        permits -= 1
        return permits >= 0

    def stop() -> None:
        nonlocal stopped
        stopped += 1

    turnstile = Turnstile[str](10, may_go, stop)
    tasks = [asyncio.create_task(turnstile.enter("a")) for _ in range(5)]
    for _ in range(20):
        await asyncio.sleep(0)
    assert sum(task.done() for task in tasks) == 2
    assert stopped >= 1
    permits = 100
    turnstile.go_on()
    await asyncio.wait_for(asyncio.gather(*tasks), 5)
