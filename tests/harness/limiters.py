"""The limit on requests: for tests that are about something else, and for those that meet the machine's hour."""

from core.auth.limiter import Limiter
from core.clock import Clock
from core.quota import WINDOW_SECONDS
from core.store.redis import connect_redis
from tests.harness.waiting import eventually

NOWHERE = "unix:///nowhere/redis"
# What a limiter waits for a Redis that lives, and is late since the machine is busy, where a test is not about that.
PATIENT_SECONDS = 10.0


def limiter_without_redis(clock: Clock) -> Limiter:
    """Return a limiter that counts alone, as a node does that has no Redis; nothing of it runs."""
    return Limiter(NOWHERE, connect_redis(NOWHERE), clock)


async def away_from_the_hours_end(redis_url: str) -> None:
    """Return when no window ends in the next half minute, by Redis' clock."""
    redis = connect_redis(redis_url)

    async def is_far() -> bool:
        seconds, _ = await redis.time()
        return WINDOW_SECONDS - seconds % WINDOW_SECONDS > 30

    await eventually(is_far, within=40, every=0.5)
    await redis.aclose()
