"""The presence of a node: who is a member through it, what it hears of rooms, and reading who is there."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from core.clock import Clock, rfc3339
from core.deadline import ended_within
from core.errors import HubError
from core.events.event import namespace_of
from core.pressure import Calm, Part, Pressed
from rooms.namespaces import Namespaces
from rooms.presence.counts import PresenceCounts
from rooms.presence.feed import SETTLE_SECONDS, PresenceFeed, PresenceSink
from rooms.presence.lingering import Lingering
from rooms.presence.page import PAGE, PresencePage
from rooms.presence.registrar import Registrar
from rooms.presence.store import Applied, PresenceStore, Presentation, text_of
from rooms.presence.wire import news_channel
from rooms.slots import TICK_SECONDS, Slots
from rooms.switch import Receiver, Switch
from rooms.tasks import Tasks

# How long a connection that was lost stays a member.
GRACE_SECONDS = 5.0
# How long somebody waits to be known to all: where Redis is away, that comes later.
PATIENCE_SECONDS = 2.0
MOST_DATA_BYTES = 1024
# Who subscribes here is a member; elsewhere a subscriber asks for it.
ALWAYS = frozenset({"chat"})


class Presence:
    """Presence of all channels of all organisations, as one node takes part in it.

    `run()` beside everything else, `close()` before the switch is closed. `namespaces` tell which channels have it. A node under
    `pressure` answers nobody who asks who is there (docs/overload.md); members are registered all the same.
    """

    def __init__(
        self,
        store: PresenceStore,
        *,
        switch: Switch,
        clock: Clock,
        sink: PresenceSink,
        counts: PresenceCounts | None = None,
        grace: float = GRACE_SECONDS,
        settle: float = SETTLE_SECONDS,
        namespaces: Namespaces | None = None,
        pressure: Pressed | None = None,
    ) -> None:
        self._pressure = pressure or Calm()
        self.counts = counts or PresenceCounts()
        self._store = store
        self._clock = clock
        self._sink = sink
        self._grace = grace
        self._settle = settle
        self._has_presence = (namespaces or Namespaces()).has_presence
        self._tasks = Tasks()
        self._registrar = Registrar(store, clock, self.counts)
        self._lingering = Lingering(clock, grace, self._registrar.drop)
        self._slots = Slots(
            make=self._make_feed, channel=lambda key: news_channel(*key), switch=switch, tasks=self._tasks
        )
        switch.when_connected(self._connected)

    def is_member(self, org_id: UUID, channel: str, *, asks: bool) -> bool:
        """Tell whether a subscriber of the channel is a member, who `asks` for presence or does not."""
        return (asks or namespace_of(channel) in ALWAYS) and self._has_presence(org_id, channel)

    def check(self, org_id: UUID, channel: str) -> None:
        """Raise HubError CHANNEL_NOT_FOUND where the channel has no presence."""
        if not self._has_presence(org_id, channel):
            raise HubError("CHANNEL_NOT_FOUND", f"Channels of {namespace_of(channel)} have no presence")

    def join(self, org_id: UUID, channel: str, subject: str, connection: str) -> None:
        """Make a connection of `subject` a member; `joined` tells when all know of it. Undone by leave(), once."""
        entry = Presentation(text_of(subject), rfc3339(self._clock.now()))
        self._registrar.put(org_id, channel, connection, entry)
        self._lingering.come_back(org_id, channel, entry.subject)

    async def joined(self, org_id: UUID, channel: str, connection: str) -> None:
        """Return when all nodes can know of a member.

        Raises HubError SERVICE_UNAVAILABLE where Redis does not answer; the connection is registered once it does.
        """
        await self._registrar.arrived(org_id, channel, connection, within_seconds=PATIENCE_SECONDS)

    async def say(self, org_id: UUID, channel: str, connection: str, data: bytes) -> Applied:
        """Say of a member's connection what it says of itself, JSON; return when all nodes can know of it.

        Raises HubError PAYLOAD_TOO_LARGE over MOST_DATA_BYTES, RESOURCE_CONFLICT where it is no member, and SERVICE_UNAVAILABLE
        where Redis does not answer, then it is known later, or where the node has too much to do, then it is not.
        """
        self._pressure.check(Part.PRESENCE)
        if len(data) > MOST_DATA_BYTES:
            raise HubError("PAYLOAD_TOO_LARGE", f"`data` has at most {MOST_DATA_BYTES} bytes")
        entry = self._registrar.entry(org_id, channel, connection)
        if entry is None:
            raise HubError("RESOURCE_CONFLICT", "Only members say something of themselves: subscribe first")
        entry = Presentation(entry.subject, entry.joined_at, data.decode())
        self._registrar.put(org_id, channel, connection, entry)
        return await self._registrar.arrived(org_id, channel, connection, within_seconds=PATIENCE_SECONDS)

    def leave(self, org_id: UUID, channel: str, connection: str, *, may_return: bool = False) -> None:
        """Make a connection a member no more: at once, or, where it may come back, after the grace."""
        entry = self._registrar.entry(org_id, channel, connection)
        if entry is None:
            return
        if may_return:
            self._lingering.add(org_id, channel, entry.subject, connection)
        else:
            self._registrar.drop(org_id, channel, connection)

    async def members(self, org_id: UUID, channel: str, after: str | None = None, limit: int = PAGE) -> PresencePage:
        """Return the members of a channel whose subjects stand after `after`; `limit` is at most MOST_OF_A_PAGE.

        The caller has checked who may join the channel, which is who may read this. Raises HubError CHANNEL_NOT_FOUND where the
        channel has no presence, and SERVICE_UNAVAILABLE when Redis does not answer, or the node has too much to do.
        """
        self.check(org_id, channel)
        self._pressure.check(Part.PRESENCE)
        # Nobody else may be there who would have removed the dead.
        await self._store.reap(org_id)
        return await self._store.page(org_id, channel, after, limit=limit)

    async def acquire(self, org_id: UUID, channel: str) -> PresenceFeed:
        """Return what tells of a channel's presence here. Give it back with release(), once.

        Waits while Redis is away; raises HubError SERVICE_UNAVAILABLE where it hangs. Cancelled or failed, nothing is to be given
        back.
        """
        return await self._slots.acquire((org_id, channel))

    def release(self, org_id: UUID, channel: str) -> None:
        """Give it back. It stays subscribed for some seconds more."""
        self._slots.release((org_id, channel))

    async def run(self) -> None:
        """Take part until cancelled. A bug in a background task is raised here."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._registrar.run())
            group.create_task(self._lingering.run())
            group.create_task(self._look_after())

    async def close(self) -> None:
        """Leave: who was here is given the grace to come back elsewhere."""
        self._slots.close()
        await self._tasks.close()
        await self._registrar.close(self._grace)

    async def _look_after(self) -> None:
        while not await ended_within(self._clock, TICK_SECONDS, self._tasks.crash):
            for feed in self._slots.tick():
                feed.check()
        if not self._tasks.crash.cancelled():
            self._tasks.crash.result()

    def _connected(self, receivers: Sequence[Receiver]) -> None:
        self._registrar.beat_soon()
        for receiver in receivers:
            if isinstance(receiver, PresenceFeed):
                receiver.check()

    def _make_feed(self, key: tuple[UUID, str]) -> PresenceFeed:
        org_id, channel = key
        return PresenceFeed(
            org_id,
            channel,
            store=self._store,
            sink=self._sink,
            clock=self._clock,
            spawn=self._tasks.spawn,
            counts=self.counts,
            settle=self._settle,
        )
