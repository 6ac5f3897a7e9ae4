"""The hub's log channels among the contenders: here the publisher is SQL, so it is in Python and not in the generator."""

from dataclasses import replace

import asyncpg
import psutil

from benchmarks.bench import Bench
from benchmarks.contenders import GRACE_SECONDS, Run, Scales
from benchmarks.generator import hub_joining, joined
from benchmarks.job import Crowd, Pace
from benchmarks.published import PublishedWindow
from benchmarks.publisher import OutboxPublisher

# Three subscriptions, as a dashboard has them.
HUB_CHANNELS = ("agents", "knowledge", "twins")


async def database_process(url: str) -> psutil.Process:
    """Return the process that has started all others of the PostgreSQL at `url`, on this machine."""
    connection = await asyncpg.connect(url)
    try:
        return psutil.Process(psutil.Process(await connection.fetchval("SELECT pg_backend_pid()")).ppid())
    finally:
        await connection.close()


class LogContender:
    """The hub's log channels: a publisher outside commits events into the outbox; relay, log, tail, feed follow."""

    key, title, main = "hub-log", "**the hub**, log channel: transaction, outbox, relay, log, feed", True

    def __init__(self, bench: Bench, brokers: list[psutil.Process], *, is_fresh: bool = False) -> None:
        self._bench = bench
        self._brokers = brokers
        self._is_fresh = is_fresh

    async def run(self, crowd: Crowd, pace: Pace) -> Run:
        """Measure with members of three channels; with `is_fresh` on a node that has just started."""
        bench, hub = self._bench, self._bench.hub
        organisation = await hub.organisation("reads")
        if self._is_fresh:
            await hub.server.stop()
            await hub.server.start()
        await hub.server.idle()
        before = hub.server.resident_bytes()
        slots = max(pace.in_flight, round(pace.per_second), 1)
        publisher = await OutboxPublisher.open(hub.database_url, hub.redis_url, organisation.id, slots)
        joining = hub_joining(organisation.key, HUB_CHANNELS)
        most = pace.warm_seconds + pace.seconds + GRACE_SECONDS
        try:
            async with joined(bench.generators, hub.server, joining, crowd, seconds=most) as members:
                await hub.server.idle()
                window = PublishedWindow(publisher, members, Scales(hub.server, self._brokers), pace, crowd.members)
                run = await window.run(slots)
                return replace(run, resident=(hub.server.resident_bytes() - before) / crowd.members)
        finally:
            await publisher.close()
            await hub.server.idle()
