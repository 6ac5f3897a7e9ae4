"""Taking turns: nobody waits for all that another has."""

import asyncio
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.fair import FairQueue, FairSlots


def test_owners_take_turns_and_keep_their_own_order():
    """However much one of them has."""
    queue = FairQueue[str, int]()
    for number in range(100):
        queue.push("noisy", number)
    queue.push("quiet", 1000)
    queue.push("other", 2000)
    assert len(queue) == 102
    assert [queue.pop() for _ in range(4)] == [0, 1000, 2000, 1]
    queue.push("quiet", 1001)
    assert [queue.pop() for _ in range(3)] == [2, 1001, 3]
    assert queue.size_of("noisy") == 96
    assert queue.size_of("quiet") == 0


def test_who_may_not_is_passed_over_and_keeps_his_turn():
    """Also where nobody may."""
    queue = FairQueue[str, int]()
    for owner in "abc":
        queue.push(owner, ord(owner))
    assert queue.pop(lambda owner: owner != "a") == ord("b")
    assert queue.pop() == ord("a")
    with pytest.raises(IndexError):
        queue.pop(lambda _: False)
    assert [*queue] == [ord("c")]
    queue.pop()
    with pytest.raises(IndexError):
        queue.pop()


@given(st.lists(st.one_of(st.none(), st.integers(0, 4)), max_size=200))
def test_nobody_is_served_twice_while_another_waits(steps: list[int | None]):
    """Against a model: pushes, and pops (None). Of those who wait all along, each is served once a round."""
    queue = FairQueue[int, tuple[int, int]]()
    waiting: dict[int, list[int]] = {}
    served_since: Counter[int] = Counter()
    for number, owner in enumerate(steps):
        if owner is not None:
            queue.push(owner, (owner, number))
            if not waiting.setdefault(owner, []):
                served_since[owner] = max((served_since[each] for each, items in waiting.items() if items), default=0)
            waiting[owner].append(number)
        elif len(queue):
            got, item = queue.pop()
            assert item == waiting[got].pop(0)
            served_since[got] += 1
            behind = [served_since[other] for other, items in waiting.items() if items]
            assert all(served_since[got] - each <= 1 for each in behind)
    assert len(queue) == sum(map(len, waiting.values()))


async def test_one_owner_has_not_all_slots():
    """Of four, three are the most for one; the other comes in at once, and before all that waits of the first."""
    slots = FairSlots[str](4, 3)
    held: list[str] = []
    done = asyncio.Event()

    async def hold(owner: str) -> None:
        async with slots.of(owner):
            held.append(owner)
            await done.wait()

    noisy = [asyncio.create_task(hold("noisy")) for _ in range(10)]
    await asyncio.sleep(0)
    quiet = asyncio.create_task(hold("quiet"))
    await asyncio.sleep(0)
    assert held == ["noisy"] * 3 + ["quiet"]
    done.set()
    await asyncio.gather(*noisy, quiet)
    assert Counter(held) == {"noisy": 10, "quiet": 1}


async def test_cancelled_ones_take_nothing_along():
    """By chance, with a printed seed: at the end all slots are free, and never were more taken than there are."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    slots = FairSlots[int](5, 3)
    inside: Counter[int] = Counter()

    async def use(owner: int) -> None:
        async with slots.of(owner):
            inside[owner] += 1
            try:
                assert inside.total() <= 5
                assert inside[owner] <= 3
                for _ in range(rng.randrange(4)):
                    await asyncio.sleep(0)
            finally:
                inside[owner] -= 1

    tasks: list[asyncio.Task[None]] = []
    for _ in range(2000):
        tasks.append(asyncio.create_task(use(rng.randrange(4))))
        if rng.random() < 0.4:
            rng.choice(tasks).cancel()
        if rng.random() < 0.5:
            await asyncio.sleep(0)
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        assert outcome is None or isinstance(outcome, asyncio.CancelledError), outcome
    async with slots.of(1), slots.of(1), slots.of(1), slots.of(2), slots.of(2):
        pass
