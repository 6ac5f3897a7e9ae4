"""All that a node shows of itself and hears of others, wired."""

import asyncio
from collections.abc import Callable, Mapping

from aiohttp import web

from core.auth.permits import Counts
from core.clock import Clock
from core.errors import HubError
from core.events.relay import Relay
from core.histogram import Histogram
from core.operations.audit import AuditTrail
from core.operations.operation import Operation
from core.operations.timings import Timings
from core.pressure import Pressure
from core.store.database import Database
from core.store.redis import Redis
from handlers.connections.operations import Connections
from handlers.webhooks.pusher import Pusher
from hub.insight.directory import Directory
from hub.insight.door import InsightDoor
from hub.insight.loop_lag import LoopLag
from hub.insight.metrics import JobCounts, KnowledgeCounts, Metrics, Siblings, Sources
from hub.insight.sockets import Sockets
from hub.insight.tracing import Tracing
from hub.nodes import Nodes
from hub.stream.counts import StreamCounts
from hub.stream.parts import Authenticates
from rooms.feed import Feeds


class Insight:
    """`run` must run beside the node; `end_traces` when it stops, `close` before its Redis connections are closed."""

    def __init__(
        self, redis: Redis, feeds: Feeds, clock: Clock, *, node: str, sockets: Sockets, pressure: Pressure
    ) -> None:
        self.timings = Timings()
        self.lag = LoopLag(clock)
        self._pressure = pressure
        self._nodes = Nodes(redis, feeds.switch, clock, node=node)
        self._directory = Directory(self._nodes, sockets)
        self._tracing = Tracing(self._nodes, self._directory, clock, pressure)
        self._feeds = feeds
        self._sockets = sockets
        self._clock = clock

    @property
    def nodes(self) -> int:
        """How many nodes live, as this one saw last."""
        return len(self._nodes.living)

    def operations(self) -> list[Operation]:
        """Return the operations on open streams."""
        return Connections(self._directory).operations()

    def metrics(
        self,
        counts: StreamCounts,
        relay: Relay,
        database: Database,
        trail: AuditTrail,
        limits: Counts,
        pauses: Mapping[str, Histogram],
        siblings: Siblings | None,
        jobs: JobCounts,
        webhooks: Pusher,
        knowledge: KnowledgeCounts,
    ) -> Metrics:
        """Return the metrics of the node, which these count besides; of all workers where it has `siblings`."""
        return Metrics(
            Sources(
                sockets=self._sockets,
                streams=counts,
                feeds=self._feeds,
                relay=relay,
                database=database,
                trail=trail,
                limits=limits,
                timings=self.timings,
                lag=self.lag,
                pressure=self._pressure,
                nodes=self._nodes,
                pauses=pauses,
                jobs=jobs,
                webhooks=webhooks,
                knowledge=knowledge,
            ),
            siblings,
        )

    def door(
        self,
        metrics: Metrics,
        authenticator: Authenticates,
        trail: AuditTrail,
        render: Callable[[web.Request, HubError], web.Response],
        request_id_of: Callable[[web.Request], str],
    ) -> InsightDoor:
        """Return the door."""
        return InsightDoor(
            metrics=metrics,
            tracing=self._tracing,
            authenticator=authenticator,
            trail=trail,
            clock=self._clock,
            render=render,
            request_id_of=request_id_of,
        )

    async def run(self) -> None:
        """Measure the loop, be there for other nodes, surface bugs; until cancelled."""
        async with asyncio.TaskGroup() as group:
            for work in (self.lag.run(), self._nodes.run(), self._tracing.run()):
                group.create_task(work)

    def end_traces(self) -> None:
        """End the traces that clients of this node follow: their requests are not waited for by a node that stops."""
        self._tracing.end()

    async def close(self) -> None:
        """Leave the other nodes."""
        await self._tracing.close()
        await self._nodes.close()
