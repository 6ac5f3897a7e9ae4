"""The live rooms of a node: publishing into them, and what their subscribers need.

A room is present here while somebody holds it, and some seconds more: a client that reconnects finds the end of its history in
memory. Rooms of a shared namespace have one subscription an organisation together.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

import orjson

from core.clock import Clock, rfc3339
from core.deadline import ended_within
from core.errors import HubError
from core.ids import new_id
from rooms.fence import Fence
from rooms.live_feed import LiveFeed, LiveSink
from rooms.live_following import Following, RoomReset
from rooms.live_publisher import LivePublisher
from rooms.live_recovery import LiveRecovery
from rooms.live_rules import carrier_of
from rooms.live_store import Head, LiveStore
from rooms.live_wire import LiveEntry, live_channel
from rooms.pace import OrganisationPaces
from rooms.recovery import Bookmark
from rooms.slots import TICK_SECONDS, Slots
from rooms.switch import Switch
from rooms.tasks import Tasks

RETRY_SECONDS = 0.25
# Rooms whose heads are compared at once.
COMPARED = 500
# Of what is told and not kept, such as that somebody types.
SIGNAL_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Published:
    """Where an event went."""

    event_id: UUID
    offset: int
    epoch: str


@dataclass(frozen=True, slots=True)
class History:
    """A part of a room's history, oldest first, and where the room is. `recovered`: it goes on from where was asked."""

    head: Head
    recovered: bool
    entries: list[LiveEntry]


class LiveRooms:
    """All live rooms of a node. `run()` beside everything else, `close()` before the switch is closed."""

    def __init__(self, store: LiveStore, *, switch: Switch, clock: Clock, sink: LiveSink) -> None:
        self.recovery = LiveRecovery(store, clock)
        # What goes for each namespace, as the node knows it.
        self.namespaces = store.namespaces
        # What organisations publish here, where a namespace bounds that.
        self.paces = OrganisationPaces(clock)
        self._store = store
        self._clock = clock
        self._sink = sink
        self._tasks = Tasks()
        self._publisher = LivePublisher(store, self._tasks.spawn)
        self._slots = Slots(
            make=self._make_feed, channel=lambda key: live_channel(*key), switch=switch, tasks=self._tasks
        )
        self._comparing: asyncio.Task[None] | None = None
        self._due: dict[LiveFeed, None] = {}
        switch.when_connected(self._check)
        self.namespaces.when_changed(self._rule)

    async def publish(
        self,
        org_id: UUID,
        channel: str,
        type: str,
        data: bytes,
        *,
        source: str,
        event_id: UUID | None = None,
        fence: Fence | None = None,
    ) -> Published:
        """Publish an event; `data` is JSON. The caller has checked who may do it (rooms/names.py).

        Raises Outrun and RoomLost where `fence` does not let it through, HubError PAYLOAD_TOO_LARGE beyond what the namespace
        allows, CHANNEL_NOT_FOUND where there is none, and SERVICE_UNAVAILABLE when Redis does not answer: whether the event went
        out is unknown then. What is published into one room goes out in the order of the calls.
        """
        rules = self.namespaces.rules_of(org_id, channel)
        if rules is None:
            raise HubError("CHANNEL_NOT_FOUND")
        if len(data) > rules.message_bytes:
            raise HubError("PAYLOAD_TOO_LARGE", f"`data` has at most {rules.message_bytes} bytes in {rules.namespace}")
        event_id = event_id or new_id()
        envelope = self._envelope(event_id, channel, type, data, source)
        at = await self._publisher.publish(org_id, channel, envelope, fence)
        return Published(event_id, at.position, at.epoch)

    async def signal(self, org_id: UUID, channel: str, type: str, data: bytes, *, source: str) -> UUID:
        """Tell those who are in the room now, and can read at once; nobody keeps it, and it has no offset. Returns its id.

        Raises HubError PAYLOAD_TOO_LARGE over SIGNAL_BYTES, SERVICE_UNAVAILABLE when Redis does not answer.
        """
        if len(data) > SIGNAL_BYTES:
            raise HubError("PAYLOAD_TOO_LARGE", f"`data` of what is not kept has at most {SIGNAL_BYTES} bytes")
        event_id = new_id()
        await self._store.signal(org_id, channel, self._envelope(event_id, channel, type, data, source))
        return event_id

    async def history(
        self, org_id: UUID, channel: str, mark: Bookmark, *, before: int | None = None, limit: int
    ) -> History:
        """Return what follows the bookmark, or, without one or where that is gone, the latest (`before`: below an offset).

        Raises HubError SERVICE_UNAVAILABLE when Redis does not answer.
        """
        if mark.offset is not None:
            found = await self._store.read(org_id, channel, "after", mark.offset, limit=limit)
            is_same = mark.epoch in (None, found.head.epoch) and mark.offset <= found.head.position
            if is_same and found.continues(mark.offset):
                return History(found.head, recovered=True, entries=found.entries)
        found = await self._store.read(org_id, channel, "before", before, limit=limit)
        is_same = mark.offset is None and mark.epoch in (None, found.head.epoch)
        return History(found.head, recovered=is_same, entries=found.entries)

    def hold(self, org_id: UUID, channel: str) -> None:
        """Have the channel's carrier here from now on, as soon as Redis has confirmed it. Give it back with release(), once."""
        self._slots.hold((org_id, carrier_of(channel)))

    async def acquire(self, org_id: UUID, channel: str) -> LiveFeed:
        """Return the channel's carrier: subscribed, confirmed, its head known. Give it back with release(), once.

        Waits while Redis is away; raises HubError SERVICE_UNAVAILABLE where it hangs. Cancelled or failed, nothing is to be
        given back.
        """
        return await self._slots.acquire((org_id, carrier_of(channel)))

    def release(self, org_id: UUID, channel: str) -> None:
        """Give a carrier back. It stays subscribed for some seconds more."""
        self._slots.release((org_id, carrier_of(channel)))

    @asynccontextmanager
    async def follow(self, org_id: UUID, channel: str, mark: Bookmark) -> AsyncGenerator[Following]:
        """Give the entries of a room after `mark`, or, where that is empty, after where the room is when this is entered.

        Waits while Redis is away. Raises RoomReset where what follows the mark is gone, and HubError SERVICE_UNAVAILABLE where
        Redis hangs.
        """
        feed = await self.acquire(org_id, channel)
        try:
            place = await self.recovery.place(feed, channel, mark)
            if place.reset is not None:
                raise RoomReset(place.reset)
            yield Following(self.recovery, feed, channel, place)
        finally:
            self.release(org_id, channel)

    async def run(self) -> None:
        """Look after the rooms until cancelled. A bug in a background task of theirs is raised here."""
        while not await ended_within(self._clock, TICK_SECONDS, self._tasks.crash):
            self._due |= dict.fromkeys(self._slots.tick())
            self._compare_due()
        if not self._tasks.crash.cancelled():
            self._tasks.crash.result()

    async def close(self) -> None:
        """End the subscriptions and every task."""
        self._slots.close()
        await self._tasks.close()

    def check_all(self) -> None:
        """Compare every room with Redis, in the background: when something may be missing."""
        self._check(list(self._slots))

    def _envelope(self, event_id: UUID, channel: str, type: str, data: bytes, source: str) -> str:
        head = {
            "id": str(event_id),
            "type": type,
            "source": source,
            "subject": channel.replace(":", "/", 1),
            "time": rfc3339(self._clock.now()),
        }
        return f'{orjson.dumps(head)[:-1].decode()},"data":{data.decode()}}}'

    def _rule(self, org_id: UUID) -> None:
        """Have the rooms of an organisation go by its rules as they are now."""
        for feed in self._slots:
            if feed.org_id == org_id:
                feed.rule(self.namespaces.rules_of(org_id, feed.carrier))

    def _check(self, feeds: Iterable[object]) -> None:
        for feed in feeds:
            if isinstance(feed, LiveFeed):
                if feed.epoch:
                    self._due[feed] = None
                else:
                    feed.check()  # noted, for when it has begun
        self._compare_due()

    def _make_feed(self, key: tuple[UUID, str]) -> LiveFeed:
        org_id, carrier = key
        rules = self.namespaces.rules_of(org_id, carrier)
        return LiveFeed(
            org_id,
            carrier,
            store=self._store,
            sink=self._sink,
            clock=self._clock,
            spawn=self._tasks.spawn,
            rules=rules,
        )

    def _compare_due(self) -> None:
        if self._due and self._comparing is None:
            self._comparing = self._tasks.spawn(self._compare())

    async def _compare(self) -> None:
        """Compare the rooms that are due with Redis, some hundred of an organisation by one command."""
        try:
            while self._due:
                org_id = next(iter(self._due)).org_id
                feeds = [feed for feed in self._due if feed.org_id == org_id][:COMPARED]
                try:
                    heads = await self._store.heads(org_id, [feed.carrier for feed in feeds])
                except HubError:
                    await self._clock.sleep(RETRY_SECONDS)
                    continue
                for feed, head in zip(feeds, heads, strict=True):
                    self._due.pop(feed, None)
                    # A feed that is ahead has got by pub/sub what was published meanwhile.
                    if head.epoch != feed.epoch or head.position > feed.last:
                        feed.check()
        finally:
            self._comparing = None
