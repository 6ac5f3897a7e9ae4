"""What is consumed over the sockets of a node, wired: the leases that pulls use too, and the node's own feeds as what wakes."""

from collections.abc import Callable

from core.clock import Clock
from core.events.subscriptions.consumer import Consumer
from core.store.database import Database
from hub.stream.consumers import Consumers
from hub.stream.counts import StreamCounts
from rooms.arrivals import Arrivals
from rooms.feed import Feeds


def consumers_of(
    database: Database, feeds: Feeds, counts: StreamCounts, clock: Clock, poke: Callable[[], None]
) -> Consumers:
    """Return the consumers of a node; `poke` wakes the relay."""
    return Consumers(Consumer(database, clock, poke), Arrivals(feeds, clock), clock, counts)
