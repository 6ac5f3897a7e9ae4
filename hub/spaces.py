"""Namespaces of channels and chats, wired for one node: what goes for them, kept up to date, and what can be done with them."""

from collections.abc import Callable, Mapping

from core.clock import Clock
from core.operations.operation import Operation
from core.settings import Settings
from core.store.database import Database
from core.store.followed import Followed
from core.store.redis import Redis
from handlers.chats.keeping import SanctionKeeping
from handlers.chats.operations import Chats
from handlers.namespaces.file import namespaces_of
from handlers.namespaces.keeping import NamespaceKeeping
from handlers.namespaces.operations import Namespaces
from hub.pokes import Pokes
from rooms.amending import Amending
from rooms.live import LiveRooms
from rooms.live_feed import LiveSink
from rooms.live_store import LiveStore
from rooms.switch import Switch

NAMESPACES_CHANNEL, CHATS_CHANNEL = "namespaces:pokes", "chats:pokes"


class SpaceParts:
    """The parts. `load` before anything is served; `close` after doors are shut.

    store        live rooms in Redis, which go by that
    pokes        what others of its kind hear of changes, for hub.pokes.hear
    running      what works beside the others
    """

    def __init__(self, settings: Settings, database: Database, redis: Redis, clock: Clock) -> None:
        self._clock = clock
        self._namespaces = namespaces_of(settings.namespaces)
        self.store = LiveStore(redis, self._namespaces)
        self._kept: tuple[Followed, ...] = (
            NamespaceKeeping(self._namespaces, database, clock),
            SanctionKeeping(self._namespaces.sanctions, database, clock),
        )
        named = zip(self._kept, (NAMESPACES_CHANNEL, CHATS_CHANNEL), strict=True)
        self.pokes = tuple(Pokes(each, redis, clock, channel) for each, channel in named)

    @property
    def running(self) -> Mapping[str, Followed]:
        """What works beside the others, by name."""
        return {each.name: each for each in self._kept}

    async def begin(self, switch: Switch, sink: LiveSink, nodes: Callable[[], int]) -> LiveRooms:
        """Learn what goes at this moment; return the live rooms, which go by it. `nodes` says how many share an organisation."""
        await self.load()
        live = LiveRooms(self.store, switch=switch, clock=self._clock, sink=sink)
        live.paces.nodes = nodes
        return live

    async def load(self) -> None:
        """Learn what goes at this moment."""
        for each in self._kept:
            await each.load()

    def operations(self, live: LiveRooms) -> list[Operation]:
        """Return the operations on namespaces and chats."""
        of_namespaces, of_chats = self.pokes
        amending = Amending(self.store, live)
        kinds = (
            Namespaces(self._namespaces, of_namespaces.poke),
            Chats(amending, self._namespaces, of_chats.poke),
        )
        return [each for kind in kinds for each in kind.operations()]

    async def close(self) -> None:
        """End what is under way."""
        for each in self.pokes:
            await each.close()
