"""Sharded pub/sub, over one connection to each server that has a channel which is wanted: one in all where Redis is no cluster.

In a cluster channels follow their slots. The server that loses a slot says so by unsubscribing us, one that does not have it
refuses us; the map is read again, from who has just said so, and the channels are subscribed where they are now. Whatever ends a
subscription, what was published meanwhile is lost to pub/sub: `on_connected` says of which channels, and that now is the time to
look for that elsewhere.

Only masters are asked: a replica hears of a message later than whoever publishes it is answered.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import structlog

from core.clock import Clock
from core.deadline import end_tasks, ended_within
from core.settings import seeds_of
from core.store.access import Access
from core.store.cluster import FAILURES
from core.store.pubsub_link import Batch
from core.store.pubsub_shard import (
    FIRST_DELAY_SECONDS,
    MOST_DELAY_SECONDS,
    PING_SECONDS,
    SILENT_PINGS,
    Events,
    Shard,
)
from core.store.redis import connect_redis
from core.store.slot_map import Address, SlotMap, slot_of

__all__ = ["PING_SECONDS", "SILENT_PINGS", "Batch", "PubSub"]

# The map of a cluster is compared: an orderly change of masters tells nobody.
MAP_SECONDS = 15.0


@dataclass(slots=True)
class _Wanted:
    """A channel; `confirmed` is done while a server has us subscribed. `shard` is where it is asked for."""

    slot: int
    confirmed: asyncio.Future[None]
    shard: Shard | None = None


class PubSub:
    """Subscriptions of one node. `open()` first, `close()` at the end.

    `on_batch` gets (channel, payload) pairs in the order of their server, synchronously; it must not raise. `on_connected` is
    called synchronously when channels were subscribed on a new connection or at a new place, with those that are confirmed there;
    on a new connection also where that is none.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        on_batch: Callable[[Batch], None],
        on_connected: Callable[[Sequence[str]], None],
    ) -> None:
        self._access = Access.of(seeds_of(url)[0])
        self._guide = connect_redis(url, clock)
        self._clock = clock
        self._events = Events(on_batch, self._confirmed, self._gone, self._lost, on_connected)
        self._slots: SlotMap | None = None
        self._shards: dict[Address, Shard] = {}
        self._keepers: dict[Address, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._wanted: dict[str, _Wanted] = {}
        # Wanted, and asked for nowhere: where it belongs is not known, or it has just been refused there.
        self._homeless: set[str] = set()
        # Who said last that something has moved.
        self._informant: Address | None = None
        self._outdated = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._log = structlog.get_logger()

    @property
    def connected(self) -> bool:
        """Whether every server that is needed has answered on its present connection."""
        return bool(self._shards) and not self._homeless and all(shard.answers for shard in self._shards.values())

    @property
    def keeper(self) -> asyncio.Task[None]:
        """The task that keeps the connections: ends by close(), or by a bug, which whoever opened this must surface."""
        assert self._keeper is not None, "open() comes first"  # noqa: S101 - a mistake of the caller
        return self._keeper

    def hears(self, channel: str) -> bool:
        """Tell whether the channel is subscribed, as far as is known."""
        wanted = self._wanted.get(channel)
        return wanted is not None and wanted.confirmed.done()

    async def open(self) -> None:
        """Begin to connect; returns at once, also when Redis is away."""
        self._keeper = asyncio.create_task(self._keep(), name="pubsub")

    async def close(self) -> None:
        """Close the connections; whoever waits in subscribe() gets ConnectionError."""
        if self._keeper is not None:
            await end_tasks([self._keeper])
        for channel in list(self._wanted):
            self.unsubscribe(channel)
        await self._guide.aclose()

    async def subscribe(self, channel: str) -> None:
        """Return when Redis has confirmed the subscription: what is published from then on comes, while the connection lives.

        Waits for as long as Redis is away; a caller that gives up calls unsubscribe(). Raises ConnectionError when the channel
        is unsubscribed meanwhile.
        """
        wanted = self._wanted.get(channel)
        if wanted is None:
            wanted = self._wanted[channel] = _Wanted(slot_of(channel), asyncio.get_running_loop().create_future())
            self._homeless.add(channel)
            self._settle((channel,), again=False)
        await asyncio.shield(wanted.confirmed)

    def unsubscribe(self, channel: str) -> None:
        """Want the channel no more; what is under way may still come."""
        wanted = self._wanted.pop(channel, None)
        if wanted is None:
            return
        self._homeless.discard(channel)
        if not wanted.confirmed.done():
            wanted.confirmed.set_exception(ConnectionError("unsubscribed"))
            wanted.confirmed.exception()  # nobody may be waiting for it
        if wanted.shard is not None:
            wanted.shard.unsubscribe(channel)

    async def _keep(self) -> None:
        try:
            async with asyncio.TaskGroup() as self._group:
                await self._follow()
        finally:
            self._slots = self._group = None

    async def _follow(self) -> None:
        """Know where channels are, for ever."""
        delay = FIRST_DELAY_SECONDS
        while True:
            self._outdated.clear()
            learned = self._clock.monotonic()
            if await self._learn():
                await self._until_outdated()
            lasted = self._clock.monotonic() - learned
            delay = FIRST_DELAY_SECONDS if lasted > MOST_DELAY_SECONDS else min(delay * 2, MOST_DELAY_SECONDS)
            # Slots move one after the other, and nodes that lost a server at one moment do not ask at one moment.
            await self._clock.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    async def _learn(self) -> bool:
        """Find out where channels are, and ask for them there; tell whether that is known."""
        try:
            slots = await self._guide.slots(self._informant)
        except FAILURES as error:
            self._log.warning("pubsub_cannot_connect", error=type(error).__name__)
            return False
        if not slots.is_cluster:
            # It is not needed again.
            await self._guide.connection_pool.disconnect()
        self._informant = None
        if self._slots is None or slots.ranges != self._slots.ranges:
            self._slots = slots
            self._leave_what_has_moved(slots)
        self._settle(list(self._homeless), again=True)
        if not self._shards and slots.masters:
            # Also where nothing is wanted yet, it is known whether Redis is there.
            self._shard(slots, slots.masters[0])
        self._close_what_is_empty()
        return True

    async def _until_outdated(self) -> None:
        outdated = asyncio.ensure_future(self._outdated.wait())
        try:
            if self._is_cluster:
                await ended_within(self._clock, MAP_SECONDS, outdated)
            else:
                await outdated
        finally:
            outdated.cancel()

    @property
    def _is_cluster(self) -> bool:
        return self._slots is not None and self._slots.is_cluster

    def _leave_what_has_moved(self, slots: SlotMap) -> None:
        for channel, wanted in self._wanted.items():
            if wanted.shard is not None and slots.owner(wanted.slot) != wanted.shard.address:
                wanted.shard.unsubscribe(channel)
                self._unsettle(channel, wanted)

    def _close_what_is_empty(self) -> None:
        for address, shard in list(self._shards.items()):
            if not shard.channels and len(self._shards) > 1:
                del self._shards[address]
                self._keepers.pop(address).cancel()

    def _settle(self, channels: Iterable[str], *, again: bool) -> None:
        """Ask for homeless channels where they belong."""
        placed: dict[Shard, dict[str, int]] = {}
        for channel in channels:
            wanted = self._wanted[channel]
            owner = None if self._slots is None else self._slots.owner(wanted.slot)
            if self._slots is not None and owner is not None:
                wanted.shard = self._shard(self._slots, owner)
                placed.setdefault(wanted.shard, {})[channel] = wanted.slot
        for shard, some in placed.items():
            self._homeless.difference_update(some)
            shard.subscribe(some, again=again)

    def _unsettle(self, channel: str, wanted: _Wanted) -> None:
        wanted.shard = None
        self._homeless.add(channel)
        self._unconfirm(wanted)

    def _unconfirm(self, wanted: _Wanted) -> None:
        if wanted.confirmed.done():
            wanted.confirmed = asyncio.get_running_loop().create_future()

    def _shard(self, slots: SlotMap, address: Address) -> Shard:
        shard = self._shards.get(address)
        if shard is None:
            assert self._group is not None, "a map is known"  # noqa: S101 - a mistake of this class
            shard = Shard(address, self._access, self._clock, self._events, by_slot=slots.is_cluster)
            self._shards[address] = shard
            self._keepers[address] = self._group.create_task(shard.keep())
        return shard

    def _confirmed(self, channel: str) -> None:
        wanted = self._wanted.get(channel)
        if wanted is not None and not wanted.confirmed.done():
            wanted.confirmed.set_result(None)

    def _gone(self, shard: Shard, channels: Sequence[str]) -> None:
        self._log.info("pubsub_moved", server=str(shard.address), channels=len(channels))
        for channel in channels:
            self._unsettle(channel, self._wanted[channel])
        self._informant = shard.address
        self._outdated.set()

    def _lost(self, shard: Shard) -> None:
        for channel in shard.channels:
            self._unconfirm(self._wanted[channel])
        if self._is_cluster:
            # Perhaps it has been replaced.
            self._outdated.set()
