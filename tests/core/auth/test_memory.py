"""Work that is shared, and answers that are kept within bounds."""

import asyncio
import gc
import weakref

import pytest
from structlog.testing import capture_logs

from core.auth.bounded import BoundedCache
from core.auth.flights import Flights
from core.errors import HubError
from tests.harness.clock import ManualClock


def test_full_cache_forgets_what_was_used_longest_ago():
    """Reading is use."""
    cache: BoundedCache[str, int] = BoundedCache(2)
    cache.put("a", 1, 10)
    cache.put("b", 2, 10)
    assert cache.get("a", 0) == 1
    cache.put("c", 3, 10)
    assert [cache.get(key, 0) for key in "abc"] == [1, None, 3]
    assert len(cache) == 2


def test_entry_ends_at_its_moment():
    """And is forgotten then."""
    cache: BoundedCache[str, int] = BoundedCache(2)
    cache.put("a", 1, 10)
    assert cache.get("a", 9.9) == 1
    assert cache.get("a", 10) is None
    assert len(cache) == 0


def test_dropped_entry_is_gone():
    """Dropping what is not there is no error."""
    cache: BoundedCache[str, int] = BoundedCache(2)
    cache.put("a", 1, 10)
    cache.drop("a")
    cache.drop("a")
    assert cache.get("a", 0) is None


async def test_work_runs_once_for_all_and_anew_afterwards(clock: ManualClock):
    """What is over is not joined."""
    flights: Flights[str, int] = Flights(clock)
    runs = 0

    async def work() -> int:
        nonlocal runs
        runs += 1
        await asyncio.sleep(0)
        return runs

    assert await asyncio.gather(*(flights.join("k", work) for _ in range(5))) == [1] * 5
    assert await flights.join("k", work) == 2
    assert await asyncio.gather(flights.join("a", work), flights.join("b", work)) == [4, 4]
    assert len(flights) == 0


async def test_refusal_reaches_all_who_wait(clock: ManualClock):
    """And is not logged: it is theirs."""
    flights: Flights[str, int] = Flights(clock)

    async def work() -> int:
        await asyncio.sleep(0)
        raise HubError("TIMEOUT")

    with capture_logs() as logs:
        outcomes = await asyncio.gather(*(flights.join("k", work) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [HubError] * 3
    assert logs == []


async def test_bug_is_logged_although_nobody_waits(clock: ManualClock):
    """All who waited have gone; the bug must not go with them."""
    flights: Flights[str, int] = Flights(clock)

    async def work() -> int:
        await asyncio.sleep(0)
        raise LookupError("a bug")

    with capture_logs() as logs:
        flights.begin("k", work)
        await clock.settle()
    assert [entry["event"] for entry in logs] == ["shared_work_failed"]


async def test_finished_work_is_not_kept(clock: ManualClock):
    """Neither its task nor its answer."""

    class Answer:
        pass

    flights: Flights[str, Answer] = Flights(clock)

    async def work() -> Answer:
        return Answer()

    kept = weakref.ref(await flights.join("k", work))
    await clock.settle()
    gc.collect()
    assert kept() is None


async def test_close_cancels_those_who_wait(clock: ManualClock):
    """Also work that was replaced by a later one."""
    flights: Flights[str, int] = Flights(clock, fresh=1)
    never: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def work() -> int:
        return await asyncio.shield(never)

    first = asyncio.ensure_future(flights.join("k", work))
    await clock.advance(1)
    second = asyncio.ensure_future(flights.join("k", work))
    await clock.settle()
    assert len(flights) == 2
    await flights.close()
    for waiting in (first, second):
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert len(flights) == 0
    never.cancel()
