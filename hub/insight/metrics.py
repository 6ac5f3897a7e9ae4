"""Metrics of one node, in Prometheus' form, made from plain integers when somebody asks: nothing here is on the way of an event."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from core.auth.permits import Counts as RateCounts
from core.events.relay import Relay
from core.events.subscriptions.totals import SubscriptionFigures
from core.histogram import Histogram
from core.jobs.figures import Figures
from core.operations.audit import AuditTrail
from core.operations.timings import Timings
from core.pressure import Pressure
from core.store.database import Database
from handlers.knowledge.life.figures import KnowledgeFigures
from handlers.knowledge.life.query_log import QueryLog
from handlers.webhooks.pusher import Pusher
from hub.insight.loop_lag import LoopLag
from hub.insight.merged import Part, merged
from hub.insight.sockets import Sockets
from hub.nodes import Nodes
from hub.overload.figures import metrics_of
from hub.stream.codes import SLOW_READER
from hub.stream.counts import StreamCounts
from rooms.feed import Feeds

Counts = dict[tuple[str, ...], float]
# Name, field of Totals, help.
SUBSCRIPTION_GAUGES = (
    ("hub_subscriptions", "subscriptions", "Subscriptions, of all organisations."),
    ("hub_subscription_lag", "lag", "Positions of logs that active subscriptions have not looked at, added up."),
    ("hub_subscription_worst_lag", "worst_lag", "The same of the one that is behind most."),
    ("hub_subscription_outstanding", "outstanding", "Events that are not acknowledged."),
    ("hub_subscription_in_flight", "in_flight", "Those of them that consumers have."),
    ("hub_subscription_dead_letters", "dead_letters", "Dead letters that are kept."),
    ("hub_subscription_oldest_seconds", "oldest_seconds", "Age of the oldest event that waits for an active one."),
)


class JobCounts(Protocol):
    """What is known of jobs, and of the subscriptions that they look after."""

    @property
    def subscriptions(self) -> SubscriptionFigures:
        """How all subscriptions of the hub are doing, and what consumers did at this node."""
        ...

    @property
    def by_kind(self) -> Mapping[str, Figures]:
        """What waits and runs on all workers of the hub."""
        ...

    @property
    def ended(self) -> Mapping[tuple[str, str], int]:
        """How many attempts have ended in this process, by kind and outcome."""
        ...


class KnowledgeCounts(Protocol):
    """What is known of documents and of queries."""

    @property
    def figures(self) -> KnowledgeFigures:
        """How many documents there are, and what waits."""
        ...

    @property
    def queries(self) -> QueryLog:
        """What was asked at this node."""
        ...


@dataclass(frozen=True, slots=True)
class Sources:
    """The objects that count."""

    sockets: Sockets
    streams: StreamCounts
    feeds: Feeds
    relay: Relay
    database: Database
    trail: AuditTrail
    limits: RateCounts
    timings: Timings
    lag: LoopLag
    pressure: Pressure
    nodes: Nodes
    pauses: Mapping[str, Histogram]
    jobs: JobCounts
    webhooks: Pusher
    knowledge: KnowledgeCounts


@dataclass(frozen=True, slots=True)
class Place:
    """A worker's place: whether the one that accepts there has answered, and how many were started there."""

    worker: int
    is_up: bool
    starts: int


@dataclass(frozen=True, slots=True)
class Family:
    """What all workers of one address counted, and their places."""

    parts: Sequence[Part]
    places: Sequence[Place]


class Siblings(Protocol):
    """The workers beside this one."""

    def collect_by(self, collect: Callable[[], Iterable[Metric]]) -> None:
        """Tell the others, when they ask, what `collect` returns."""
        ...

    async def counted(self) -> Family:
        """Return what all counted, this one too. Raises SERVICE_UNAVAILABLE where that cannot be known."""
        ...


class Metrics:
    """The metrics of a node, with a registry of their own: two nodes in one process do not mix.

    Where the node is one of several workers, those of all of them.
    """

    def __init__(self, sources: Sources, siblings: Siblings | None = None) -> None:
        self._siblings = siblings
        self._registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)
        self._registry.register(_Node(sources))
        if siblings is not None:
            siblings.collect_by(self._registry.collect)

    async def rendered(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics in the form that an `Accept` header asks for, and its media type."""
        encode, content_type = choose_encoder(accept)
        if self._siblings is None:
            return encode(self._registry), content_type
        all_of_them = CollectorRegistry()
        all_of_them.register(_Merged(await self._siblings.counted()))
        return encode(all_of_them), content_type


class _Merged(Collector):
    def __init__(self, family: Family) -> None:
        self._family = family

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        places = self._family.places
        up: Counts = {(str(each.worker),): int(each.is_up) for each in places}
        starts: Counts = {(str(each.worker),): each.starts for each in places}
        yield _gauge("hub_worker_up", "Whether the worker that accepts in this place answers.", up, "worker")
        yield _counter("hub_worker_starts", "Workers started in this place.", starts, "worker")
        yield from merged(self._family.parts).metrics()


class _Node(Collector):
    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def describe(self) -> Iterable[Metric]:
        return ()  # nothing is collected to find out the names

    def collect(self) -> Iterable[Metric]:
        yield _gauge(
            "hub_node_info", "The node and its release.", {(self._sources.nodes.node, _release()): 1}, "node", "release"
        )
        yield _gauge("hub_nodes", "Nodes that live, as this one saw last.", {(): len(self._sources.nodes.living)})
        yield from self._streams()
        yield from self._consumers()
        yield from self._presence()
        yield from self._feeds()
        yield from self._writes()
        yield from self._limits()
        yield from self._jobs()
        yield from self._subscriptions()
        yield from self._webhooks()
        yield from self._knowledge()
        yield from metrics_of(self._sources.pressure)
        yield _histogram(
            "hub_loop_lag_seconds", "How late the event loop was, each 100 ms.", {(): self._sources.lag.histogram}
        )
        pauses = {(generation,): each for generation, each in self._sources.pauses.items()}
        if pauses:
            yield _histogram(
                "hub_gc_pause_seconds", "Runs of the garbage collector: nothing else goes on.", pauses, "generation"
            )
        runs = self._sources.timings.by_operation
        yield _histogram("hub_operation_seconds", "Runs of operations.", runs, "operation", "outcome")

    def _streams(self) -> Iterable[Metric]:
        counts, sockets = self._sources.streams, list(self._sources.sockets())
        yield _gauge("hub_connections", "Open streams.", {(): len(sockets)})
        waiting = sum(socket.outbound.waiting_bytes for socket in sockets)
        yield _gauge("hub_connections_waiting_bytes", "Bytes that wait for clients to read.", {(): waiting})
        yield _counter("hub_connections_opened", "Streams opened.", {(): counts.opened})
        closed = {(str(code or "client"),): count for code, count in counts.closed.items()}
        yield _counter("hub_connections_closed", "Streams ended, by the hub's close code.", closed, "code")
        yield _counter(
            "hub_slow_readers_cut",
            "Streams cut since the client read too slowly.",
            {(): counts.closed[SLOW_READER.code]},
        )
        yield _gauge(
            "hub_handshakes_waiting", "Streams that wait for their turn to open.", {(): counts.handshakes_waiting}
        )
        yield _counter("hub_handshakes_refused", "Streams refused for the moment.", {(): counts.handshakes_refused})
        yield _counter("hub_silent_clients", "Streams given up since nothing came of the client.", {(): counts.silent})
        yield _counter("hub_frames_received", "Frames of clients.", {(): counts.frames_in})
        yield _counter("hub_bytes_received", "Payload bytes of clients.", {(): counts.bytes_in})
        inbound = counts.inbound
        yield _counter("hub_frames_over_rate", "Frames of clients that came too fast.", {(): inbound.refused})
        yield _counter("hub_floods", "Streams ended since frames came far too fast.", {(): inbound.floods})
        yield _counter("hub_frames_refused", "Frames of clients answered with an error.", {(): counts.refused})
        yield _counter("hub_deliveries", "Event frames written by the fan-out.", {(): counts.deliveries})
        yield _counter("hub_frames_sent", "Frames written to clients.", {(): counts.frames_out})
        yield _counter("hub_bytes_sent", "Bytes written to clients.", {(): counts.bytes_out})
        yield _counter("hub_compressions", "Events and frames compressed.", {(): counts.compressions})
        yield _counter(
            "hub_recoveries", "Channels brought up to date, by where from.", _by_one(counts.recoveries), "source"
        )
        yield _counter(
            "hub_resets", "Channels told that events are missing, by reason.", _by_one(counts.resets), "reason"
        )

    def _consumers(self) -> Iterable[Metric]:
        counts = self._sources.streams
        yield _gauge(
            "hub_consumers", "Channels of streams that consume a durable subscription.", {(): counts.consumers}
        )
        yield _counter(
            "hub_consumed", "Deliveries to them, by what became of them.", _by_one(counts.consumed), "outcome"
        )
        yield _counter(
            "hub_consumers_restarts",
            "Times that what serves them died, and was started again.",
            {(): counts.consuming_restarts},
        )

    def _presence(self) -> Iterable[Metric]:
        counts = self._sources.streams.presence
        yield _gauge(
            "hub_presence_connections",
            "Memberships of channels with presence, of connections here and of those cut off a moment ago.",
            {(): counts.connections},
        )
        yield _counter("hub_presence_diffs", "Changes of presence told to streams here, diffs.", {(): counts.diffs})
        yield _counter("hub_presence_reaped", "Memberships of dead nodes that this one removed.", {(): counts.reaped})
        yield _counter(
            "hub_presence_lost_leases",
            "Times that this node was taken for dead in an organisation, and registered all again.",
            {(): counts.lost_leases},
        )

    def _feeds(self) -> Iterable[Metric]:
        feeds = self._sources.feeds
        present = feeds.present
        yield _gauge(
            "hub_redis_connected", "Whether the pub/sub connection to Redis stands.", {(): int(feeds.connected)}
        )
        yield _gauge("hub_feeds", "Organisations that are present.", {(): len(present)})
        behind = max((feed.behind for feed in present), default=0)
        yield _gauge(
            "hub_feed_positions_behind", "Positions known to be missing, in the feed that lacks most.", {(): behind}
        )
        held = sum(feed.held for feed in present)
        yield _gauge("hub_feed_messages_held", "Messages that wait for a gap to be filled.", {(): held})
        filled = {("tail",): feeds.counts.filled_from_tail, ("log",): feeds.counts.filled_from_log}
        yield _counter("hub_feed_gaps_filled", "Pages of missing entries, by where from.", filled, "source")
        yield _counter("hub_feed_resets", "New lives of a log, by reason.", _by_one(feeds.counts.resets), "reason")

    def _writes(self) -> Iterable[Metric]:
        relay, database = self._sources.relay, self._sources.database
        yield _gauge("hub_relay_shards_held", "Shards that this node relays.", {(): len(relay.held)})
        yield _gauge("hub_relay_behind", "Whether Redis lacks what this node has moved.", {(): int(relay.behind)})
        yield _counter("hub_relay_moved", "Events moved from the outbox into the log.", {(): relay.moved})
        yield _counter("hub_relay_published", "Events published to the feeds.", {(): relay.published})
        connections = {("used",): database.in_use, ("idle",): database.free}
        yield _gauge("hub_database_connections", "Connections of the pool.", connections, "state")
        yield _gauge("hub_database_waiting", "Requests that wait for a connection.", {(): database.waiting})
        yield _counter(
            "hub_audit_lost", "Audit entries of reads and refusals that were lost.", {(): self._sources.trail.lost}
        )

    def _jobs(self) -> Iterable[Metric]:
        kinds = self._sources.jobs.by_kind
        queued: Counts = {(kind,): each.queued for kind, each in kinds.items()}
        running: Counts = {(kind,): each.running for kind, each in kinds.items()}
        oldest: Counts = {(kind,): each.oldest_seconds for kind, each in kinds.items()}
        yield _gauge("hub_jobs_queued", "Jobs that wait, on all nodes.", queued, "kind")
        yield _gauge("hub_jobs_running", "Jobs that run, on all nodes.", running, "kind")
        yield _gauge("hub_jobs_oldest_seconds", "For how long the oldest job that waits has been due.", oldest, "kind")
        ended: Counts = {**self._sources.jobs.ended}
        yield _counter("hub_jobs_ended", "Attempts that have ended here, by outcome.", ended, "kind", "outcome")

    def _subscriptions(self) -> Iterable[Metric]:
        figures = self._sources.jobs.subscriptions
        for name, field, text in SUBSCRIPTION_GAUGES:
            values: Counts = {(way,): getattr(each, field) for way, each in figures.by_way.items()}
            yield _gauge(name, text, values, "delivery")
        yield _counter(
            "hub_subscription_events", "Events of subscriptions, pulled here.", _by_one(figures.counts), "outcome"
        )

    def _webhooks(self) -> Iterable[Metric]:
        pusher = self._sources.webhooks
        yield _counter(
            "hub_webhook_attempts", "Messages sent to webhooks, by outcome.", _by_one(pusher.attempts), "outcome"
        )
        yield _gauge("hub_webhook_in_flight", "Messages to webhooks that are under way.", {(): pusher.in_flight})
        yield _gauge("hub_webhook_open_circuits", "Webhooks that do not answer this node.", {(): pusher.open_circuits})

    def _knowledge(self) -> Iterable[Metric]:
        figures, queries = self._sources.knowledge.figures, self._sources.knowledge.queries
        documents: Counts = {(status,): each.documents for status, each in figures.by_status.items()}
        sizes: Counts = {(status,): each.bytes for status, each in figures.by_status.items()}
        yield _gauge("hub_documents", "Documents of knowledge bases, on all nodes.", documents, "status")
        yield _gauge("hub_documents_bytes", "Bytes of their current versions.", sizes, "status")
        yield _gauge("hub_chunks", "Parts of documents that are searched.", {(): figures.chunks})
        yield _gauge(
            "hub_ingestion_lag_seconds",
            "For how long the oldest document that waits has not been read.",
            {(): figures.waiting_seconds},
        )
        yield _counter("hub_queries", "Questions answered here.", _by_one(queries.answered), "outcome")
        yield _counter("hub_queries_lost", "Questions that are missing in the log of queries.", {(): queries.lost})
        yield _histogram("hub_query_seconds", "How long questions took.", {(): queries.times})

    def _limits(self) -> Iterable[Metric]:
        counts = self._sources.limits
        yield _counter("hub_rate_limit_granted", "Requests that the limit let pass.", {(): counts.granted})
        yield _counter("hub_rate_limit_refused", "Requests over the limit.", {(): counts.refused})
        yield _counter(
            "hub_rate_limit_grace", "Requests over the limit that could still be answered 304.", {(): counts.grace}
        )
        yield _counter(
            "hub_rate_limit_local", "Requests of those that this node decided on without Redis.", {(): counts.alone}
        )


def _gauge(name: str, text: str, values: Mapping[tuple[str, ...], float], *labels: str) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for named, value in values.items():
        family.add_metric(named, value)
    return family


def _counter(name: str, text: str, values: Mapping[tuple[str, ...], float], *labels: str) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for named, value in values.items():
        family.add_metric(named, value)
    return family


def _histogram(name: str, text: str, values: Mapping[tuple[str, ...], Histogram], *labels: str) -> Metric:
    family = HistogramMetricFamily(name, text, labels=labels)
    for named, histogram in list(values.items()):
        family.add_metric(named, histogram.cumulative(), histogram.total)
    return family


def _by_one(counts: Mapping[str, int]) -> dict[tuple[str, ...], float]:
    return {(name,): count for name, count in counts.items()}


def _release() -> str:
    try:
        return version("aimatrix-hub")
    except PackageNotFoundError:  # run from a checkout
        return "checkout"
