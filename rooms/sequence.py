"""What comes numbered by pub/sub, put in order, without gaps or doubles, and handed on.

    a message at last + 1     straight through
    at or below last          dropped: it was handed over
    above                     a gap: held, while what is missing is read from where it is kept
    of another epoch,         dropped, and the source is asked where it is: it says which epoch is right, and up to where
    or not readable           it goes

One task at a time mends a feed, and it stops only when nothing is missing; meanwhile messages are held. What there is to read, and
what to do where it cannot be had, is the part of OrgFeed (the log) and of LiveFeed (live rooms).

Who takes what is handed over may be full. Then too messages are held, and beyond the bounds of that dropped and read again: memory
is bounded however slowly they are taken.
"""

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

import structlog

from core.clock import Clock
from core.errors import HubError
from core.events.event import Entry
from rooms.ring import Ring

FIRST_DELAY_SECONDS = 0.05
MOST_DELAY_SECONDS = 1.0

Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
E = TypeVar("E", bound=Entry)
# What is done when there is room again where entries were handed over: nothing more is handed over before.
Full = asyncio.Future[None]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a feed keeps: the latest entries, and messages beside a mending. Sizes are of envelopes, in characters.

    Beyond `held_entries` or `held_size`, what is held is dropped, and read again.
    """

    ring_entries: int
    ring_size: int
    held_entries: int
    held_size: int


class SequenceFeed(ABC, Generic[E]):
    """Everything up to `last` of `epoch` has been handed over, and nothing above.

    life     rises with each reset; numbers of two lives are never compared
    heard    whether a message came since this was last set to False; the quiet check asks
    """

    # What is logged when the source does not answer.
    _waiting_event: ClassVar[str]

    def __init__(
        self,
        org_id: UUID,
        *,
        decode: Callable[[bytes], tuple[str, E] | None],
        number: Callable[[E], int],
        bounds: Bounds,
        clock: Clock,
        spawn: Spawn,
    ) -> None:
        self.org_id = org_id
        self.epoch = ""
        self.life = 0
        self.heard = False
        self._decode = decode
        self._number = number
        self._bounds = bounds
        self._clock = clock
        self._spawn = spawn
        self._ring: Ring[E] = Ring(0)
        self._mending: asyncio.Task[None] | None = None
        self._full: Full | None = None
        self._must_check = False
        self._is_closed = False
        self._target = 0
        self._held: list[E] = []
        self._held_size = 0
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    @property
    def last(self) -> int:
        """The last number handed over."""
        return self._ring.last

    @property
    def behind(self) -> int:
        """How many numbers are known to be missing here."""
        return max(0, self._target - self._ring.last)

    @property
    def held(self) -> int:
        """How many messages wait for a gap to be filled."""
        return len(self._held)

    @property
    def _gap(self) -> bool:
        return self._ring.last < self._target

    @abstractmethod
    async def start(self) -> None:
        """Begin where the source is. Redis must have confirmed the subscription. Raises HubError while the source is away."""

    @abstractmethod
    def _deliver(self, entries: list[E]) -> Full | None:
        """Hand entries on."""

    @abstractmethod
    async def _mend_once(self) -> None:
        """Ask where the source is if `_must_check`, read a part of what is missing; HubError or OSError where it is away.

        Where what is missing cannot be had, begin a new life.
        """

    def _takes(self, payload: bytes) -> bool:
        """Take a message that is no entry; False where it is of no known form."""
        return False

    def receive(self, payloads: Sequence[bytes]) -> None:
        """Take the messages of one read, in the order in which Redis sent them."""
        if self._is_closed:
            return
        self.heard = True
        entries: list[E] = []
        decode, epoch = self._decode, self.epoch
        for payload in payloads:
            message = decode(payload)
            if message is not None and message[0] == epoch:
                entries.append(message[1])
            elif message is not None or not self._takes(payload):
                self._must_check = True
        if self._gap or self._full is not None:
            self._hold(entries)
        else:
            # Also beside a check: an entry that goes on from `last` is in order whatever the head is.
            self._take(entries)
        self._mend_if_needed()

    def check(self) -> None:
        """Ask the source where it is, and fill what is missing; in the background."""
        self._must_check = True
        self._mend_if_needed()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return in a turn in which `condition` holds; it is asked again whenever something was handed over or mended."""
        while not condition():
            changed = asyncio.get_running_loop().create_future()
            waiting = (condition, changed)
            self._waiting.append(waiting)
            try:
                await changed
            finally:
                if waiting in self._waiting:
                    self._waiting.remove(waiting)

    def close(self) -> None:
        """End what runs in the background; nothing is handed over any more, whoever still knows the feed."""
        self._is_closed = True
        if self._mending is not None:
            self._mending.cancel()

    def _take(self, entries: list[E]) -> None:
        """Hand over what goes on from `last`; from a gap on, hold."""
        following = self._ring.last + 1
        # Nearly always nothing is lost or doubled: what one read brought goes on as it is.
        for number in map(self._number, entries):
            if number != following:
                entries = self._sorted(entries)
                break
            following += 1
        if entries:
            self._hand_over(entries)

    def _sorted(self, entries: list[E]) -> list[E]:
        """Return what goes on from `last`, without doubles; hold what is beyond a gap."""
        ready: list[E] = []
        following = self._ring.last + 1
        for index, number in enumerate(map(self._number, entries)):
            if number == following:
                ready.append(entries[index])
                following += 1
            elif number > following:
                self._target = max(self._target, number - 1)
                self._hold(entries[index:])
                break
        return ready

    def _hand_over(self, entries: list[E]) -> None:
        self._ring.extend(entries)
        self._full = self._deliver(entries)
        if self._waiting:
            self._tell_waiting()

    def _hold(self, entries: Sequence[E]) -> None:
        self._held += entries
        self._held_size += sum(len(entry.envelope) for entry in entries)
        if len(self._held) > self._bounds.held_entries or self._held_size > self._bounds.held_size:
            # All of them were published, so they are kept where what is missing is read.
            self._target = max(self._target, *map(self._number, self._held))
            self._drop_held()

    def _drop_held(self) -> list[E]:
        held, self._held, self._held_size = self._held, [], 0
        return held

    def _mend_if_needed(self) -> None:
        if self._is_closed:
            return
        # Before the first head there is nothing to compare with: start() comes back to what was noted.
        if (self._must_check or self._gap or self._full is not None) and self._mending is None and self.epoch:
            self._mending = self._spawn(self._mend())

    async def _mend(self) -> None:
        """Work until nothing is missing; a source that is away is waited for, and where entries go, if that is full."""
        delay = FIRST_DELAY_SECONDS
        try:
            while self._missing():
                if self._full is not None:
                    await asyncio.shield(self._full)  # others may wait for the same
                    self._full = None
                    continue
                try:
                    await self._mend_once()
                    delay = FIRST_DELAY_SECONDS
                except (HubError, OSError) as error:
                    self._warn(self._waiting_event, error=str(error))
                    await self._clock.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                    delay = min(delay * 2, MOST_DELAY_SECONDS)
        finally:
            # In the turn in which nothing was missing, so no message can have come in between.
            self._mending = None
            self._tell_waiting()

    def _missing(self) -> bool:
        """Hand over what is held and fits now; tell whether there is still something to do."""
        if not self._gap and self._full is None:
            self._take(self._drop_held())
        return self._must_check or self._gap or self._full is not None

    def _begin(self, epoch: str, last: int, before: Sequence[E]) -> None:
        """Begin a life after `last`, with the entries that end there in memory; nothing is missing or held."""
        self.life += 1
        self.epoch = epoch
        self._ring = Ring(last - len(before), max_entries=self._bounds.ring_entries, max_size=self._bounds.ring_size)
        self._ring.extend(before)
        self._target = 0
        self._drop_held()

    def _tell_waiting(self) -> None:
        """End the waits whose condition holds now."""
        waiting, self._waiting = self._waiting, []
        for condition, changed in waiting:
            if changed.done():
                continue
            if condition():
                changed.set_result(None)
            else:
                self._waiting.append((condition, changed))

    def _warn(self, event: str, **values: Any) -> None:
        structlog.get_logger().warning(event, org_id=str(self.org_id), **values)
