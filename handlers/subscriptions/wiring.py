"""All operations on subscriptions, with the parts of a node that they need."""

from collections import Counter
from collections.abc import Callable

from core.clock import Clock
from core.events.log import LogReader
from core.events.subscriptions.consumer import Consumer
from core.operations.operation import Operation
from core.store.database import Database
from handlers.subscriptions.consuming import Arrivals, Consuming
from handlers.subscriptions.letters import Letters
from handlers.subscriptions.operations import Subscriptions
from handlers.subscriptions.replaying import Replays


def subscription_operations(
    database: Database,
    log: LogReader,
    arrivals: Arrivals,
    clock: Clock,
    poke: Callable[[], None],
    counts: Counter[str],
) -> list[Operation]:
    """Return the operations; `poke` wakes the relay, and what consumers do is counted in `counts`."""
    consuming = Consuming(Consumer(database, clock, poke), arrivals, clock, counts)
    kinds = (Subscriptions(), consuming, Letters(), Replays(log))
    return [operation for kind in kinds for operation in kind.operations()]
