"""All operations on subscriptions, with the parts of a node that they need."""

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
    database: Database, log: LogReader, arrivals: Arrivals, clock: Clock, poke: Callable[[], None]
) -> list[Operation]:
    """Return the operations; `poke` wakes the relay."""
    consuming = Consuming(Consumer(database, clock, poke), arrivals, clock)
    kinds = (Subscriptions(), consuming, Letters(), Replays(log))
    return [operation for kind in kinds for operation in kind.operations()]
