"""Commands on raw connections, one to each master: for what is asked with every request, where redis-py's 70 us are too much.

Who sends decides what an answer that does not come means: nothing is sent a second time here.
"""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

import hiredis
import structlog

from core.clock import Clock
from core.deadline import ended_within
from core.settings import seeds_of
from core.store.access import Access
from core.store.cluster import FAILURES
from core.store.redis import Redis
from core.store.slot_map import Address, SlotMap

CONNECT_SECONDS = 2.0
# Two pings in a row that nothing follows: the connection is given up, and another one tried.
PING_SECONDS = 1.5
SILENT_PINGS = 2
FIRST_DELAY_SECONDS = 0.05
MOST_DELAY_SECONDS = 1.0
# The map of a cluster is compared: an orderly change of masters tells nobody.
MAP_SECONDS = 15.0

# Called with the answer: what hiredis reads, its ReplyError among that, or ConnectionError where none will come.
Answered = Callable[[Any], None]


class Pipe(asyncio.Protocol):
    """One connection, from being made until `lost` is done. Answers come in the order of commands.

    `on_awake` is called when it answers that was silent.
    """

    def __init__(self, on_awake: Callable[[], None]) -> None:
        self._on_awake = on_awake
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self._unanswered: deque[Answered] = deque()
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.heard = 0
        # Who waited in vain says so; what comes after all takes it back.
        self.is_silent = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # uvloop's transports do not inherit from asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell all who wait that nothing comes."""
        if not self.lost.done():
            self.lost.set_result(None)
        while self._unanswered:
            self._unanswered.popleft()(ConnectionError("Redis is away"))

    def data_received(self, data: bytes) -> None:
        """Hand the answers to who waits for them."""
        self.heard += 1
        if self.is_silent:
            self.is_silent = False
            self._on_awake()
        reader, unanswered = self._reader, self._unanswered
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not False:
                unanswered.popleft()(reply)
        except hiredis.ProtocolError:
            self.abort()

    def send(self, commands: bytes, answered: Sequence[Answered]) -> None:
        """Write packed commands, whose answers go to `answered`, one each."""
        if self._transport is None or self._transport.is_closing():
            for each in answered:
                each(ConnectionError("Redis is away"))
            return
        self._unanswered.extend(answered)
        # uvloop raises for a transport whose socket has died but whose loss is not reported yet: it is on its way.
        with contextlib.suppress(RuntimeError):
            self._transport.write(commands)

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()


class Pipes:
    """The connections of one node; `run()` keeps them, until cancelled.

    `greeting` is sent on each new one. `on_answering` is called when a server answers that did not.
    """

    def __init__(
        self,
        url: str,
        redis: Redis,
        clock: Clock,
        *,
        greeting: Sequence[tuple[str, ...]],
        on_answering: Callable[[], None],
    ) -> None:
        access = Access.of(seeds_of(url)[0])
        self._access = access
        self._redis = redis
        self._clock = clock
        self._greeting = [
            *([("AUTH", *access.login)] if access.login else []),
            *([("SELECT", str(access.database))] if access.database else []),
            *greeting,
        ]
        self._on_answering = on_answering
        self._slots: SlotMap | None = None
        self._pipes: dict[Address, Pipe] = {}
        self._keepers: dict[Address, asyncio.Task[None]] = {}
        self._outdated = asyncio.Event()
        self._has_begun = asyncio.Event()
        self._log = structlog.get_logger()

    @property
    def connected(self) -> bool:
        """Whether every master has answered on its present connection."""
        slots = self._slots
        return slots is not None and all(each in self._pipes for each in slots.masters)

    async def begun(self) -> None:
        """Wait until every master has answered once."""
        await self._has_begun.wait()

    def at(self, slot: int) -> Pipe | None:
        """Return the connection to who has the slot; None where there is none now."""
        slots = self._slots
        if slots is None:
            return None
        owner = slots.owner(slot)
        return None if owner is None else self._pipes.get(owner)

    def look_again(self) -> None:
        """Have the map read again: an answer has said that a slot is elsewhere."""
        self._outdated.set()

    def give_up(self, slot: int) -> None:
        """Take another connection for the slot: its server has refused what it should not, so it may be master no more."""
        pipe = self.at(slot)
        if pipe is not None:
            pipe.abort()

    async def run(self) -> None:
        """Find the masters, and keep a connection to each."""
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    self._outdated.clear()
                    if await self._learn(group):
                        await self._until_outdated()
                    # Nodes that lost a server at one moment do not ask at one moment.
                    await self._clock.sleep(MOST_DELAY_SECONDS * random.uniform(0.05, 0.5))  # noqa: S311 - jitter
        finally:
            self._keepers.clear()

    async def _learn(self, group: asyncio.TaskGroup) -> bool:
        try:
            slots = await self._redis.slots()
        except FAILURES as error:
            self._log.warning("pipes_cannot_connect", error=type(error).__name__)
            return False
        self._slots = slots
        masters = slots.masters
        for address in [each for each in self._keepers if each not in masters]:
            self._keepers.pop(address).cancel()
        for address in masters:
            if address not in self._keepers:
                self._keepers[address] = group.create_task(self._keep(address))
        return True

    async def _until_outdated(self) -> None:
        outdated = asyncio.ensure_future(self._outdated.wait())
        try:
            if self._slots is not None and not self._slots.is_cluster:
                await outdated
            else:
                await ended_within(self._clock, MAP_SECONDS, outdated)
        finally:
            outdated.cancel()

    async def _keep(self, address: Address) -> None:
        """Connect and reconnect."""
        delay = FIRST_DELAY_SECONDS
        while True:
            pipe = await self._connect(address)
            if pipe is not None:
                try:
                    await self._use(address, pipe)
                finally:
                    was_used = self._pipes.pop(address, None) is not None
                    pipe.abort()
                delay = FIRST_DELAY_SECONDS if was_used else delay
            if self._slots is not None and self._slots.is_cluster:
                self._outdated.set()
            await self._clock.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            delay = min(delay * 2, MOST_DELAY_SECONDS)

    async def _connect(self, address: Address) -> Pipe | None:
        dialing = asyncio.ensure_future(self._access.dial(address, lambda: Pipe(self._on_answering)))
        try:
            if await ended_within(self._clock, CONNECT_SECONDS, dialing):
                return dialing.result()
        except OSError:
            return None
        except asyncio.CancelledError:
            if dialing.done() and dialing.exception() is None:
                dialing.result().abort()
            raise
        finally:
            dialing.cancel()
        return None

    async def _use(self, address: Address, pipe: Pipe) -> None:
        """Serve a connection until it is lost. It is used by others from the answer to its greeting on."""

        def greeted(answer: Any) -> None:
            if isinstance(answer, Exception):  # it loads its data, or does not let us in
                pipe.abort()
            elif not pipe.lost.done():
                self._pipes[address] = pipe
                if self.connected:
                    self._has_begun.set()
                self._on_answering()

        greeting = b"".join(packed(each) for each in (*self._greeting, ("PING",)))
        pipe.send(greeting, [*[_unread] * len(self._greeting), greeted])
        silent = 0
        while not pipe.lost.done():
            heard = pipe.heard
            await ended_within(self._clock, PING_SECONDS, pipe.lost)
            # Our own loop may have stood still: what has come meanwhile is read before Redis is judged.
            await asyncio.sleep(0)
            silent = 0 if pipe.heard != heard else silent + 1
            if silent > SILENT_PINGS:
                return
            pipe.send(packed(("PING",)), [_unread])


def packed(command: Sequence[str | bytes | int | float]) -> bytes:
    """Return a command as it is sent."""
    # hiredis' stub knows tuples of one word only.
    return hiredis.pack_command(tuple(command))  # pyright: ignore[reportArgumentType]


def _unread(_answer: Any) -> None:
    """Take an answer that says nothing: what is wrong with a connection shows in the next command."""
