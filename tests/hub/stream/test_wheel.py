"""The wheel against a model: a dictionary of moments, looked through whole at every tick."""

import random

from hub.stream.wheel import NEVER, Wheel

TICK = 0.5


class Item:
    def __init__(self) -> None:
        self.due = NEVER


def test_items_are_due_when_a_full_search_says_so():
    """Set, moved, dropped and forgotten in any order: at the first tick not before its moment, once."""
    for seed in range(20):
        rng = random.Random(seed)
        wheel: Wheel[Item] = Wheel(TICK)
        items = [Item() for _ in range(50)]
        moments: dict[Item, float] = {}
        now = 1000.0
        for _ in range(400):
            item = rng.choice(items)
            moment = now + rng.choice([-1.0, 0.0, 0.2, 0.5, 3.0, rng.random() * 40])
            match rng.randrange(5):
                case 0 | 1:
                    wheel.set(item, moment)
                    moments[item] = moment
                case 2:
                    wheel.set_earlier(item, moment)
                    moments[item] = min(moment, moments.get(item, moment))
                case 3:
                    wheel.drop(item)
                    moments.pop(item, None)
                case _:
                    now += TICK * rng.choice([1, 1, 1, 2, 30])
                    expected = {each for each, at in moments.items() if at <= now}
                    taken = wheel.take(now)
                    assert set(taken) == expected
                    assert len(taken) == len(expected)
                    for each in taken:
                        del moments[each]
                        assert each.due == NEVER


def test_earliest_comes_first():
    """Whatever the order in which they were set."""
    wheel: Wheel[Item] = Wheel(TICK)
    late, early = Item(), Item()
    wheel.set(late, 20.0)
    wheel.set(early, 10.0)
    assert wheel.take(30.0) == [early, late]


def test_nothing_is_kept_of_what_was_dropped():
    """A node sees millions of connections come and go."""
    wheel: Wheel[Item] = Wheel(TICK)
    for number in range(1000):
        item = Item()
        wheel.set(item, number)
        wheel.drop(item)
    assert wheel.take(10_000.0) == []
