"""Who comes to a crowd: readers by every way there is, each of some channels, seen as a view shows them."""

import random
from collections.abc import Iterator, Sequence

from aimatrix.live.clock import Clock
from benchmarks.clients import OLDEST_NODE, node_command
from tests.harness.event_source import EventWatcher, PollWatcher
from tests.harness.proxy import FaultProxy
from tests.harness.sdk_watchers import NodeWatcher, PythonWatcher, SdkWatcher
from tests.harness.views import View, views_of
from tests.harness.watcher import Watcher

LOG = ["agents", "knowledge", "twins"]
ROOMS = ["chat:lobby", "chat:quiet"]
# Of two dozen so many come so. A program in Node takes a while to start.
WAYS = {
    Watcher.way: 13,
    EventWatcher.way: 4,
    PollWatcher.way: 3,
    PythonWatcher.way: 3,
    NodeWatcher.way: 1,
}
SOCKET_SECONDS = 0.5
# The hub's comments come every 20 to 25 s, of a clock that runs four times as fast.
SILENCE_SECONDS = 8.0


def ways_there_are() -> list[str]:
    """Return every way, as often as it is taken in a round of all; Node's is left out where there is none."""
    found = [way for way, times in WAYS.items() for _ in range(times)]
    return found if node_command() is not None else [way for way in found if way != NodeWatcher.way]


def what_is_not_there() -> list[str]:
    """Return words for each kind of reader that cannot come here."""
    if node_command() is not None:
        return []
    return [
        f"the JavaScript SDK was NOT tested under schedules of faults: no Node of {OLDEST_NODE} or later on the PATH"
    ]


def dealt(rng: random.Random) -> Iterator[str]:
    """Return ways without end: each comes as often as it should in every round of all of them, in an order by chance."""
    while True:
        ways = ways_there_are()
        rng.shuffle(ways)
        yield from ways


class Comers:
    """Makes readers of one organisation; `own_room` is that of its `key`."""

    def __init__(
        self, gates: Sequence[FaultProxy], key: str, own_room: str, rng: random.Random, clock: Clock | None
    ) -> None:
        self._gates = gates
        self._key = key
        self._own_room = own_room
        self._rng = rng
        self._clock = clock

    def by_chance(self) -> Watcher | SdkWatcher:
        """Make one by whatever way."""
        return self.make(self._rng.choice(ways_there_are()))

    def make(self, way: str) -> Watcher | SdkWatcher:
        """Make one that comes by this way."""
        channels = self._channels()
        # Only a socket has views.
        has_views = way in (Watcher.way, PythonWatcher.way, NodeWatcher.way)
        views = views_of(channels, self._rng) if has_views else {}
        if way in (PythonWatcher.way, NodeWatcher.way):
            return self._by_sdk(way, channels, views)
        urls = [gate.url("ws") + "/v2/stream" for gate in self._gates]
        self._rng.shuffle(urls)
        if way == EventWatcher.way:
            return EventWatcher(urls, self._key, channels, silence=SILENCE_SECONDS)
        if way == PollWatcher.way:
            return PollWatcher(urls, self._key, channels, wait=1)
        compression = self._rng.choice((None, "deflate"))
        return Watcher(urls, self._key, channels, heartbeat=SOCKET_SECONDS, compression=compression, views=views)

    def _by_sdk(self, way: str, channels: Sequence[str], views: dict[str, View]) -> SdkWatcher:
        """An SDK knows one address; a gate leads to its node also after that has come back elsewhere."""
        url = self._rng.choice(self._gates).url()
        if way == NodeWatcher.way:
            return NodeWatcher(url, self._key, channels, views, self._rng)
        return PythonWatcher(url, self._key, channels, views, self._rng, self._clock)

    def _channels(self) -> list[str]:
        kinds = self._rng.sample(LOG, self._rng.randrange(1, 4))
        stars = [f"{kind}:*" if self._rng.random() < 0.25 else kind for kind in kinds]
        own = [self._own_room] if self._rng.random() < 0.5 else []
        return [*stars, *self._rng.sample(ROOMS, self._rng.randrange(1, 3)), *own]
