"""One server of Redis that has channels which are wanted, and the connection to it, which heals itself."""

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from core.clock import Clock
from core.deadline import ended_within
from core.store.access import Access
from core.store.pubsub_link import Batch, Link
from core.store.slot_map import Address

CONNECT_SECONDS = 2.0
# Two pings in a row that nothing follows: a silent Redis is given up after at most 4.5 s. One would also catch our own stalls.
PING_SECONDS = 1.5
SILENT_PINGS = 2
FIRST_DELAY_SECONDS = 0.05
MOST_DELAY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Events:
    """What a shard tells, each with itself where more than one could have said it.

    `confirmed`: the channel is subscribed. `gone`: these are not served there. `lost`: the connection is, or cannot be made, and
    nothing is subscribed until it is. `again`: these, of those that were asked for anew, are subscribed now.
    """

    batch: Callable[[Batch], None]
    confirmed: Callable[[str], None]
    gone: Callable[["Shard", Sequence[str]], None]
    lost: Callable[["Shard"], None]
    again: Callable[[Sequence[str]], None]


class Shard:
    """`keep()` must run. `channels` are those that are asked for here, with their slots."""

    def __init__(self, address: Address, access: Access, clock: Clock, events: Events, *, by_slot: bool) -> None:
        self.address = address
        self.channels: dict[str, int] = {}
        self._access = access
        self._clock = clock
        self._events = events
        self._by_slot = by_slot
        self._link: Link | None = None
        self._has_answered = False
        self._log = structlog.get_logger()

    @property
    def answers(self) -> bool:
        """Whether the server has answered on the present connection."""
        return self._link is not None and self._has_answered

    def subscribe(self, channels: Mapping[str, int], *, again: bool) -> None:
        """Ask for channels from now on; `again`: those that are subscribed are told of by `Events.again`."""
        self.channels.update(channels)
        if self._link is not None:
            self._link.subscribe(self._groups(channels))
            if again:
                self._link.ping(partial(self._again, list(channels)))

    def unsubscribe(self, channel: str) -> None:
        """Ask for `channel` no more; what is under way may still come."""
        if self.channels.pop(channel, None) is not None and self._link is not None:
            self._link.unsubscribe(channel)

    async def keep(self) -> None:
        """Connect and reconnect, until cancelled."""
        delay = FIRST_DELAY_SECONDS
        while True:
            link = await self._connect()
            if link is not None:
                delay = FIRST_DELAY_SECONDS if await self._use(link) else delay
            self._events.lost(self)
            # Nodes that lost Redis at one moment do not come back at one moment.
            await self._clock.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            delay = min(delay * 2, MOST_DELAY_SECONDS)

    async def _connect(self) -> Link | None:
        dialing = asyncio.ensure_future(self._dial())
        try:
            if await ended_within(self._clock, CONNECT_SECONDS, dialing):
                return dialing.result()
            self._log.warning("pubsub_cannot_connect", error="timeout")
        except OSError as error:
            self._log.warning("pubsub_cannot_connect", error=type(error).__name__)
        except asyncio.CancelledError:
            if dialing.done() and dialing.exception() is None:
                dialing.result().abort()
            raise
        finally:
            dialing.cancel()
        return None

    async def _dial(self) -> Link:
        return await self._access.dial(self.address, lambda: Link(self._events.batch, self._confirmed, self._gone))

    async def _use(self, link: Link) -> bool:
        """Serve a connection until it is lost; tell whether the server ever answered on it."""
        self._link, self._has_answered = link, False
        try:
            if self._access.login:
                link.log_in(self._access.login)
            link.subscribe(self._groups(self.channels))
            # It stands behind every SSUBSCRIBE of the start, so none of those is open when it is answered.
            link.ping(partial(self._greeted, list(self.channels)))
            await self._watch(link)
        finally:
            self._link = None
            link.abort()
        self._log.warning("pubsub_lost", error=link.reason)
        return self._has_answered

    async def _watch(self, link: Link) -> None:
        silent = 0
        while not link.lost.done():
            heard = link.heard
            link.ping()
            await ended_within(self._clock, PING_SECONDS, link.lost)
            # Our own loop may have stood still: what has come meanwhile is read before Redis is judged.
            await asyncio.sleep(0)
            silent = 0 if link.heard != heard else silent + 1
            if silent == SILENT_PINGS:
                link.fail("silent")
                return

    def _groups(self, channels: Iterable[str]) -> list[list[str]]:
        """Return channels in groups that one command may name."""
        if not self._by_slot:
            return [list(channels)]
        groups: dict[int, list[str]] = {}
        for channel in channels:
            groups.setdefault(self.channels[channel], []).append(channel)
        return list(groups.values())

    def _greeted(self, channels: Sequence[str]) -> None:
        self._has_answered = True
        self._again(channels)

    def _again(self, channels: Sequence[str]) -> None:
        self._events.again([channel for channel in channels if channel in self.channels])

    def _confirmed(self, channel: str) -> None:
        if channel in self.channels:
            self._events.confirmed(channel)

    def _gone(self, channels: Sequence[str]) -> None:
        gone = [channel for channel in channels if self.channels.pop(channel, None) is not None]
        if gone:
            self._events.gone(self, gone)
