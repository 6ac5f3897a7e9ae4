"""A node as a queue, simulated: what comes while one round is written waits, and is joined into the next.

Messages come at random times (a Poisson process). A round takes all that wait and writes once to each member, so its time is
members x (write + extra x messages), as measured; it varies as the measured times of single messages do (log-normal, of the
measured p99 over p50). Unlike a queue without joining, it does not fail where the load passes 1: rounds grow longer.
"""

import math
import random
from dataclasses import dataclass

from benchmarks.capacity import Capacity

MESSAGES = 20_000
WARM = 2_000
# Of the normal distribution: 99 % is below so many deviations.
_Z99 = 2.326


@dataclass(frozen=True, slots=True)
class Found:
    """What the members saw, and what it took; times are from the arrival at the node to the last member."""

    per_second: float
    p50_ms: float
    p99_ms: float
    joined: float
    busy: float
    delivered: int


def simulate(capacity: Capacity, *, members: int, load: float, messages: int = MESSAGES, seed: int = 1) -> Found:
    """Let so many messages come. `load` is the share of a core that they would take with a write for each."""
    chance = random.Random(seed)
    per_second = load * 1e6 / (members * capacity.delivery_us)
    comes: list[float] = []
    now = 0.0
    for _ in range(messages):
        now += chance.expovariate(per_second)
        comes.append(now)
    waits, rounds, busy, end = _served(capacity, comes, members, chance)
    kept = sorted(waits[min(WARM, messages // 2) :])
    return Found(
        per_second=per_second,
        p50_ms=kept[len(kept) // 2] * 1000,
        p99_ms=kept[math.ceil(len(kept) * 0.99) - 1] * 1000,
        joined=messages / rounds,
        busy=busy / end,
        delivered=len(waits),
    )


def _served(
    capacity: Capacity, comes: list[float], members: int, chance: random.Random
) -> tuple[list[float], int, float, float]:
    """Return each message's wait, the number of rounds, the time in them, and when the last has ended."""
    sigma = math.log(capacity.spread) / _Z99
    waits: list[float] = []
    rounds, busy, free, at = 0, 0.0, 0.0, 0
    while at < len(comes):
        begin = max(free, comes[at])
        last = at
        while last < len(comes) and comes[last] <= begin:
            last += 1
        count = last - at
        # exp() of a normal distribution whose mean is -s^2/2 has the mean 1: the measured cost is the mean.
        varies = math.exp(chance.gauss(-sigma * sigma / 2, sigma))
        seconds = (
            (count * capacity.message_us + members * (capacity.write_us + count * capacity.extra_us)) / 1e6 * varies
        )
        free = begin + seconds
        waits += [free - come for come in comes[at:last]]
        rounds, busy, at = rounds + 1, busy + seconds, last
    return waits, rounds, busy, free
