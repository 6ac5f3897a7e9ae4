"""The feeds that are present on a node: each has one subscription for all who hold it.

A feed stays for some seconds after the last has given it back: a client that reconnects finds its entries in memory.
"""

import asyncio
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from core.errors import HubError
from rooms.sequence import SequenceFeed
from rooms.switch import Switch
from rooms.tasks import Tasks

TICK_SECONDS = 5.0
# A feed without a message for as many ticks is compared with its source: Redis may have lost what it never showed.
QUIET_TICKS = 3

K = TypeVar("K", bound=Hashable)
F = TypeVar("F", bound=SequenceFeed[Any])


@dataclass(eq=False, slots=True)
class _Slot(Generic[F]):
    """A feed that is present: `holders` have it, or are about to."""

    feed: F
    opening: asyncio.Task[None] | None = None
    holders: int = 0
    idle_ticks: int = 0
    quiet_ticks: int = 0


class Slots(Generic[K, F]):
    """Feeds by key, made by `make`, each heard on the pub/sub channel `channel(key)`. Its owner calls tick() every TICK_SECONDS."""

    def __init__(self, *, make: Callable[[K], F], channel: Callable[[K], str], switch: Switch, tasks: Tasks) -> None:
        self._make = make
        self._channel = channel
        self._switch = switch
        self._tasks = tasks
        self._slots: dict[K, _Slot[F]] = {}

    def __iter__(self) -> Iterator[F]:
        """All feeds that are present, those that are not open yet as well."""
        return iter([slot.feed for slot in self._slots.values()])

    def hold(self, key: K) -> None:
        """Have the feed here from now on, as soon as Redis has confirmed it. Give it back with release(), once."""
        self._hold(key)

    async def acquire(self, key: K) -> F:
        """Return the feed: subscribed, confirmed, started. Give it back with release(), once.

        Waits while Redis is away. Raises HubError SERVICE_UNAVAILABLE where the feed cannot start; cancelled or failed, nothing is
        to be given back.
        """
        slot = self._hold(key)
        try:
            while not slot.feed.epoch:
                await self._opened(key, slot)
        except BaseException:
            slot.holders -= 1
            raise
        return slot.feed

    def release(self, key: K) -> None:
        """Give a feed back."""
        slot = self._slots.get(key)
        if slot is not None:  # else close() was quicker
            slot.holders -= 1

    def tick(self, *, unheard_are_quiet: bool = False) -> list[F]:
        """Close what nobody holds any more; return the feeds that were quiet for long enough to be compared with their source.

        `unheard_are_quiet`: those that are not subscribed at this moment as well.
        """
        quiet: list[F] = []
        for key, slot in list(self._slots.items()):
            slot.idle_ticks = 0 if slot.holders else slot.idle_ticks + 1
            if slot.idle_ticks > 1:
                self._close(key)
            elif not slot.feed.epoch:
                # Where it is not being opened, somebody holds it without waiting, and Redis was away.
                self._opening(key, slot)
            elif _is_quiet(slot, now=unheard_are_quiet and not self._switch.hears(self._channel(key))):
                quiet.append(slot.feed)
        return quiet

    def close(self) -> None:
        """End the subscriptions and the feeds."""
        for key in list(self._slots):
            self._close(key)

    def _hold(self, key: K) -> _Slot[F]:
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = _Slot(self._make(key))
        if not slot.feed.epoch:
            self._opening(key, slot)
        slot.holders += 1
        return slot

    def _opening(self, key: K, slot: _Slot[F]) -> asyncio.Task[None]:
        """Return the opening: one for all who come meanwhile, that goes on when the first of them leaves."""
        if slot.opening is None:
            slot.opening = self._tasks.spawn(self._open(key, slot), must_succeed=False)
        return slot.opening

    async def _opened(self, key: K, slot: _Slot[F]) -> None:
        opening = self._opening(key, slot)
        try:
            await asyncio.shield(opening)
        except asyncio.CancelledError:
            if opening.cancelled():
                raise HubError("SERVICE_UNAVAILABLE", "The hub is closing", retry_after=1) from None
            raise
        except ConnectionError:
            # The subscription was given up under it, which only close() does.
            raise HubError("SERVICE_UNAVAILABLE", "The hub is closing", retry_after=1) from None

    async def _open(self, key: K, slot: _Slot[F]) -> None:
        try:
            await self._switch.subscribe(self._channel(key), slot.feed)
            await slot.feed.start()
        finally:
            slot.opening = None

    def _close(self, key: K) -> None:
        """Leave, in one turn: SUNSUBSCRIBE stands before the SSUBSCRIBE of whoever comes next."""
        slot = self._slots.pop(key)
        if slot.opening is not None:
            slot.opening.cancel()
        slot.feed.close()
        self._switch.unsubscribe(self._channel(key))


def _is_quiet(slot: _Slot[Any], *, now: bool) -> bool:
    """Count a tick; tell whether the feed is to be compared: after QUIET_TICKS without a message, or `now`."""
    slot.quiet_ticks = 0 if slot.feed.heard else slot.quiet_ticks + 1
    slot.feed.heard = False
    if slot.quiet_ticks < QUIET_TICKS and not now:
        return False
    slot.quiet_ticks = 0
    return True
