"""Limiters for tests, on a clock in the hand."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from uuid import UUID

from core.auth.limiter import Limiter
from core.auth.tiers import Limits
from core.clock import SystemClock
from core.quota import Quota
from core.store.redis import connect_redis
from tests.harness.clock import ManualClock
from tests.harness.limiters import PATIENT_SECONDS
from tests.harness.waiting import eventually


def limits(per_hour: int, burst: int) -> Limits:
    """Return limits on requests."""
    return Limits(requests_per_hour=per_hour, burst=burst, concurrent_connections=1)


@asynccontextmanager
async def limiter_of(
    url: str, clock: ManualClock | None = None, *, nodes: int = 1, alone: bool = False, look: float = PATIENT_SECONDS
) -> AsyncGenerator[Limiter]:
    """Give a node's limiter, running and connected unless `alone`. With a clock, that clock is Redis' too.

    It is patient: a Redis that lives is late on a busy machine, and most tests are not about that.
    """
    redis = connect_redis(url)
    # What keeps the connections sleeps on the machine's clock: a test that moves time is not about that.
    limiter = Limiter(
        url,
        redis,
        SystemClock() if clock is None else _Judging(clock),
        nodes=lambda: nodes,
        look=look,
        time=None if clock is None else lambda: round(clock.now().timestamp() * 1e6),
    )
    task = asyncio.create_task(limiter.run())
    try:
        if not alone:
            await eventually(lambda: limiter.connected)
        yield limiter
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.wait({task})
        limiter.close()
        await redis.aclose()


class _Judging(SystemClock):
    """Sleeps in real time, and tells the time of the clock in the hand."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.now = clock.now
        self.monotonic = clock.monotonic


async def ask(limiter: Limiter, org_id: UUID, of: Limits, count: int = 1, *, weight: int = 1) -> list[Quota]:
    """Ask so many times in one turn."""
    return list(await asyncio.gather(*(limiter.ask(org_id, of, weight) for _ in range(count))))


async def granted(limiter: Limiter, org_id: UUID, of: Limits, count: int = 1, *, weight: int = 1) -> int:
    """Return how many of so many are granted, asked for in turns of seven."""
    found: list[Quota] = []
    while count > 0:
        found += await ask(limiter, org_id, of, min(7, count), weight=weight)
        count -= 7
    return Counter(each.retry_after is None for each in found)[True]
