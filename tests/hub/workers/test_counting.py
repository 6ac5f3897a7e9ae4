"""`GET /metrics` of several workers: one answer for all, whichever is asked; nothing in it ever goes down but gauges."""

import asyncio
import signal
from contextlib import AsyncExitStack

import aiohttp
import psutil

from core.store.engines import EngineUrls
from tests.harness.hub_process import HubProcess, HubProcesses
from tests.harness.organisations import Organisation
from tests.harness.rest_client import RestClient
from tests.harness.stream_client import open_stream
from tests.harness.valkey import OwnRedis
from tests.harness.waiting import eventually, let_pass
from tests.hub.workers.conftest import COMMAND, Samples, all_up, metrics_of, workers_of

STREAMS, WRITES = 16, 12
ASKED = 6
# The kernel chooses the worker of a connection: with so many, the one of two that can answer is left out once in a billion runs.
ASKERS = 30


def falling(before: Samples, after: Samples) -> list[str]:
    """Return the names of counters and histograms that went down."""
    ends = ("_total", "_count", "_sum")
    return [
        name
        for name, value in before.items()
        if (name.partition("{")[0].endswith(ends) or "_bucket" in name)
        and not name.startswith("process_")
        and after.get(name, 0.0) < value
    ]


async def test_counts_add_up_to_what_happened(hub: HubProcess, organisation: Organisation):
    """Streams, deliveries, operations: exact, and the same at every worker; each process' memory is there by itself."""
    key = await organisation.key()
    async with AsyncExitStack() as stack:
        opening = (stack.enter_async_context(open_stream(hub.stream_url, key)) for _ in range(STREAMS))
        streams = list(await asyncio.gather(*opening))
        for each in streams:
            await each.subscribe("agents")
        for _ in range(WRITES):
            async with RestClient(hub.base_url, key) as client:
                assert (await client.call("POST", "/v2/agents", {"name": "Ada"})).status == 201
        for each in streams:
            await each.events(WRITES)
        # Subscribers may have an event before the relay has heard from Redis that it is out.
        await eventually(lambda: _has_published(hub, WRITES), what="the relay knows what is out")
        for _ in range(ASKED):
            seen = await _of_both(hub)
            assert seen["hub_connections"] == seen["hub_connections_opened_total"] == STREAMS
            assert seen["hub_worker_connections{0}"] + seen["hub_worker_connections{1}"] == STREAMS
            assert seen["hub_deliveries_total"] == STREAMS * WRITES
            assert seen["hub_frames_sent_total"] == STREAMS * (WRITES + 2), "welcome, subscribed, the events"
            assert seen["hub_frames_received_total"] == STREAMS
            assert seen["hub_operation_seconds_count{agents.create}{ok}"] == WRITES
            assert seen["hub_operation_seconds_bucket{+Inf}{agents.create}{ok}"] == WRITES
            assert seen["hub_relay_moved_total"] == seen["hub_relay_published_total"] == WRITES
            assert seen["hub_relay_shards_held"] == 16
            assert seen["hub_redis_connected"] == 1, "not the sum"
            assert all(seen[f"process_resident_memory_bytes{{{worker}}}"] > 1e6 for worker in (0, 1))
            assert len([name for name in seen if name.startswith("hub_node_info")]) == 2
            assert "hub_gc_pause_seconds_count{2}" in seen


async def _has_published(hub: HubProcess, count: int) -> bool:
    return (await metrics_of(hub))["hub_relay_published_total"] >= count


async def _of_both(hub: HubProcess) -> Samples:
    """Ask until both have answered: a machine that is busy for a second makes a worker silent, which is another test's matter."""

    async def answered() -> Samples | None:
        seen = await metrics_of(hub)
        return seen if [seen[f"hub_worker_up{{{worker}}}"] for worker in (0, 1)] == [1, 1] else None

    return await eventually(answered, what="both workers answer")


async def test_counters_do_not_go_down_when_workers_are_replaced(hub: HubProcess, organisation: Organisation):
    """Killed: what it had counted when it was asked last stays. Replaced in order: all of it stays, to the last one."""
    key = await organisation.key()

    async def work() -> None:
        async with open_stream(hub.stream_url, key) as stream, RestClient(hub.base_url, key) as client:
            await stream.subscribe("agents")
            await client.call("POST", "/v2/agents", {"name": "Ada"})
            await stream.expect("event")

    for _ in range(8):
        await work()
    before = await metrics_of(hub)
    assert before["hub_deliveries_total"] == 8
    for number, worker in enumerate(workers_of(hub), 1):
        worker.kill()
        await all_up(hub, starts=2 + number)
        after = await metrics_of(hub)
        assert falling(before, after) == []
        assert after["hub_deliveries_total"] == 8
        before = after
    await work()
    psutil.Process(hub.pid).send_signal(signal.SIGHUP)
    while (seen := await metrics_of(hub))["hub_worker_starts_total{0}"] + seen["hub_worker_starts_total{1}"] < 6:
        assert falling(before, seen) == []
        before = seen
    await eventually(lambda: len(workers_of(hub)) == 2, within=60, what="the old ones have ended")
    for _ in range(ASKED):
        seen = await _of_both(hub)
        assert falling(before, seen) == []
        assert seen["hub_deliveries_total"] == seen["hub_connections_opened_total"] == 9
        assert seen["hub_operation_seconds_count{agents.create}{ok}"] == 9
        assert seen["hub_connections"] == 0
        before = seen


async def test_worker_that_stands_still_is_reported_and_not_waited_for(hub: HubProcess):
    """A scrape gives it about a second; what the worker had counted is still in the sums."""
    before = await metrics_of(hub)
    first, _ = workers_of(hub)
    first.suspend()
    try:
        seen = await _of_whom_answers(hub)
        assert [seen[f"hub_worker_up{{{worker}}}"] for worker in (0, 1)] == [0, 1]
        assert falling(before, seen) == []
        assert "process_resident_memory_bytes{0}" not in seen
        # A second time too: once is no chance.
        assert (await _of_whom_answers(hub))["hub_worker_up{0}"] == 0
        # Nobody has waited for its end: it still stands there.
        assert first.status() == psutil.STATUS_STOPPED
    finally:
        first.resume()
    await all_up(hub, starts=2)


async def test_worker_that_dies_during_a_scrape_is_counted_once(
    urls: EngineUrls, organisation: Organisation, hubs: HubProcesses
):
    """It has answered, the scrape waits for another, and meanwhile it is killed and replaced: what it counted is there once."""
    hub = await hubs.start(urls=urls, command=(*COMMAND[:-1], "3"))
    key = await organisation.key()
    for _ in range(9):
        async with open_stream(hub.stream_url, key) as stream:
            await stream.subscribe("agents")
    before = await metrics_of(hub)
    assert before["hub_connections_opened_total"] == 9
    async with aiohttp.ClientSession() as session:
        # One connection, so one worker, and which one is known.
        async with session.get(f"{hub.base_url}/livez") as answer:
            await answer.read()
        port = int(hub.base_url.rpartition(":")[2])
        own = next(
            each.laddr for each in psutil.Process().net_connections("tcp") if each.raddr and each.raddr.port == port
        )
        others = [each for each in workers_of(hub) if all(one.raddr != own for one in each.net_connections("tcp"))]
        assert len(others) == 2
        dying, still = others
        still.suspend()
        try:
            scrape = asyncio.create_task(_counted_by(session, hub))
            await let_pass(0.3)  # the one that can has answered
            dying.kill()
            assert await scrape == 9
            assert await _counted_by(session, hub) == 9
        finally:
            still.resume()
    await eventually(lambda: len(workers_of(hub)) == 3, what="another has taken its place")


async def _counted_by(session: aiohttp.ClientSession, hub: HubProcess) -> float:
    async with session.get(f"{hub.base_url}/metrics") as answer:
        text = await answer.text()
    return next(
        float(line.split()[-1]) for line in text.splitlines() if line.startswith("hub_connections_opened_total")
    )


async def _of_whom_answers(hub: HubProcess) -> Samples:
    """Ask until the kernel chooses the worker that can answer."""
    asking = [asyncio.create_task(metrics_of(hub)) for _ in range(ASKERS)]
    try:
        done, _ = await asyncio.wait(asking, timeout=30, return_when=asyncio.FIRST_COMPLETED)
        assert done, "nobody has answered"
        return done.pop().result()
    finally:
        for each in asking:
            each.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


async def test_metrics_answer_without_redis(urls: EngineUrls, own_redis: OwnRedis, hubs: HubProcesses):
    """The workers reach each other by their parent, and need nobody else."""
    hub = await hubs.start(urls=EngineUrls(urls.database_url, urls.superuser_url, own_redis.url), command=COMMAND)
    own_redis.kill()

    async def is_said() -> bool:
        seen = await metrics_of(hub)
        assert [seen[f"hub_worker_up{{{worker}}}"] for worker in (0, 1)] == [1, 1]
        return seen["hub_redis_connected"] == 0

    await eventually(is_said, retry_on=(), what="it is said that Redis is away")
