"""The servers of a Redis Cluster, and the way of a command to the one that has its key.

Not redis-py's RedisCluster: its asyncio client sends ASKING and the command that it is for over two connections where more than one
is free, closes the connections of everybody's commands when it reads the map again, and then parses the list of all commands on the
event loop. Each server has a client of redis-py here; the map is ours, and pub/sub has the same.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from redis.asyncio import Redis as Server
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ClusterError,
    MovedError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisIsAway
from redis.exceptions import TimeoutError as RedisIsSilent

from core.clock import Clock
from core.store.slot_map import Address, SlotMap, read_slots, slot_of

Command = tuple[Any, ...]
# What may be raised where Redis is asked.
FAILURES = (RedisError, OSError, TimeoutError)
# A server that cannot be reached, or does not answer.
_AWAY = (RedisIsAway, RedisIsSilent, OSError, TimeoutError)
_REDIRECTED = (AskError, TryAgainError)

# A server that is asked for the map answers in that time, or the next one is asked.
MAP_SECONDS = 1.0
# Keys of one script that are on their way one after the other: it is tried again, so often at most.
TRY_AGAIN_SECONDS = 0.05
MOST_TRIES = 20
# What has no key. Everything else that the hub sends has its key as the first argument, scripts after their number of keys.
_WITHOUT_KEY = frozenset(("PING", "INFO", "SCRIPT", "CONFIG", "CLUSTER", "CLIENT", "FLUSHALL"))


class _Pauses:
    """How often it is still waited for keys, or servers, that are on their way; shared by commands that go one after the other."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left = MOST_TRIES

    async def pause(self) -> None:
        """Wait a little. Raises ClusterError where that was done often enough."""
        if not self._left:
            raise ClusterError("Redirected too often")
        self._left -= 1
        await self._clock.sleep(TRY_AGAIN_SECONDS)


class Cluster:
    """All servers of a cluster. A command that is redirected has not been done, so it is sent again; nothing else is."""

    def __init__(
        self, slots: SlotMap, seeds: Sequence[Address], open_server: Callable[[Address], Server], clock: Clock
    ) -> None:
        self._slots = slots
        self._seeds = seeds
        self._open = open_server
        self._clock = clock
        self._servers: dict[Address, Server] = {}
        self._left: list[Server] = []
        # The map may be wrong: a server that it names did not answer, last this one.
        self._doubted: Address | None = None
        self._is_doubted = False
        self._version = 0
        self._learning = asyncio.Lock()

    def masters(self) -> list[Server]:
        """Return a client for each server that has keys."""
        return [self._server(address) for address in self._slots.masters]

    async def execute(self, args: Command, options: Mapping[str, Any]) -> Any:
        """Send a command to who has its key. Raises what it raises there, and RedisError where nobody takes it in a second.

        It has not been done where that is a ClusterError.
        """
        return await self._execute(args, options, _Pauses(self._clock))

    async def _execute(self, args: Command, options: Mapping[str, Any], pauses: _Pauses) -> Any:
        if self._is_doubted:
            await self.learn()
        key = _key_of(args)
        if key is None:
            return await self._sent_to(random.choice(self._slots.masters), args, options)  # noqa: S311 - any will do
        slot = slot_of(key)
        ask: Address | None = None
        for tries in range(MOST_TRIES):
            asked = self._owner(slot) if ask is None else ask
            try:
                if ask is not None:
                    return await self._asking(ask, args, options)
                return await self._sent_to(asked, args, options)
            except MovedError as error:  # redis-py has it as a kind of AskError
                ask = None
                if tries > 1:
                    # Two servers send us to each other until they agree.
                    await pauses.pause()
                await self._moved(slot, _named_by(error, asked))
            except AskError as error:
                ask = _named_by(error, asked)
            except TryAgainError:
                ask = None
                await pauses.pause()
        raise ClusterError("Redirected too often")

    async def together(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one round trip a server; return the answers, an exception in place of each that has none.

        Those of one slot are done in their order. A ClusterError says that a command has not been done.
        """
        if self._is_doubted:
            await self.learn()
        groups: dict[Address | None, list[int]] = {}
        for at, command in enumerate(commands):
            groups.setdefault(self._slots.owner(slot_of(str(_key_of(command)))), []).append(at)
        answers: list[Any] = [None] * len(commands)
        await asyncio.gather(*(self._group(owner, some, commands, answers) for owner, some in groups.items()))
        redirected: dict[int, list[int]] = {}
        for at, answer in enumerate(answers):
            if isinstance(answer, _REDIRECTED):
                redirected.setdefault(slot_of(str(_key_of(commands[at]))), []).append(at)
        # Slots beside each other: each that is on its way may take a second, and the others wait for all of them.
        await asyncio.gather(*(self._again(some, commands, answers) for some in redirected.values()))
        return answers

    async def learn(self, ask: Address | None = None) -> SlotMap:
        """Read the map anew; from the server at `ask` where that answers. One reads it for all who want it meanwhile."""
        seen = self._version
        async with self._learning:
            if self._version == seen:
                # These had their time to finish what they had under way.
                while self._left:
                    await self._left.pop().aclose()
                self._adopt(await self._read(ask))
        return self._slots

    async def aclose(self) -> None:
        """Close every connection."""
        servers = [*self._servers.values(), *self._left]
        self._servers, self._left = {}, []
        for server in servers:
            await server.aclose()

    async def _group(
        self, owner: Address | None, some: list[int], commands: Sequence[Command], answers: list[Any]
    ) -> None:
        if owner is None:
            found: list[Any] = [self._uncovered()] * len(some)
        else:
            found = await pipelined(self._server(owner), [commands[at] for at in some])
            if any(isinstance(answer, _AWAY) for answer in found):
                self._doubt(owner)
        for at, answer in zip(some, found, strict=True):
            answers[at] = answer

    async def _again(self, some: list[int], commands: Sequence[Command], answers: list[Any]) -> None:
        """Send redirected commands of one slot one after the other, for at once they would go over several connections."""
        pauses = _Pauses(self._clock)
        lost: Exception | None = None
        for at in some:
            # Who does not answer one is not waited for with each of the others.
            answers[at] = lost or await _answer_or_error(self._execute(commands[at], {}, pauses))
            if isinstance(answers[at], _AWAY):
                lost = answers[at]

    async def _sent_to(self, address: Address, args: Command, options: Mapping[str, Any]) -> Any:
        try:
            return await self._server(address).execute_command(*args, **options)
        except (*_AWAY, ClusterDownError):
            self._doubt(address)
            raise

    async def _asking(self, address: Address, args: Command, options: Mapping[str, Any]) -> Any:
        """Send a command to where its slot is on the way to: leave to do so holds for the next command of a connection."""
        pipeline = self._server(address).pipeline(transaction=False)
        pipeline.execute_command("ASKING")
        pipeline.execute_command(*args, **options)
        _, answer = await pipeline.execute(raise_on_error=False)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _moved(self, slot: int, address: Address) -> None:
        """Follow a slot. A thousand commands that hear of it at once cost one look at the map."""
        if self._slots.owner(slot) != address:
            await self.learn(address)
        if self._slots.owner(slot) != address:
            self._slots.move(slot, address)

    def _owner(self, slot: int) -> Address:
        owner = self._slots.owner(slot)
        if owner is None:
            raise self._uncovered()
        return owner

    def _uncovered(self) -> ClusterDownError:
        self._is_doubted = True
        return ClusterDownError("Hash slot not served")

    def _server(self, address: Address) -> Server:
        server = self._servers.get(address)
        if server is None:
            server = self._servers[address] = self._open(address)
        return server

    def _doubt(self, address: Address) -> None:
        self._is_doubted, self._doubted = True, address

    async def _read(self, ask: Address | None) -> SlotMap:
        others = [*self._slots.masters, *self._seeds]
        random.shuffle(others)
        # Who has just failed may take its time to fail again.
        others.sort(key=lambda address: address == self._doubted)
        failed: Exception = RedisIsAway("The cluster has no server")
        asked_first = [] if ask is None else [ask]
        for address in dict[Address, None].fromkeys([*asked_first, *others]):
            try:
                # In this task, as redis-py's own timeouts: nothing of it is left when who wanted the map goes away.
                async with asyncio.timeout(MAP_SECONDS):
                    slots = await ask_for_slots(self._server(address).execute_command, address)
            except FAILURES as error:
                failed = error
            else:
                if slots is not None:
                    return slots
        raise failed

    def _adopt(self, slots: SlotMap) -> None:
        self._slots = slots
        self._version += 1
        self._is_doubted, self._doubted = False, None
        kept = {*slots.masters, *self._seeds}
        self._left += [self._servers.pop(address) for address in list(self._servers) if address not in kept]


async def ask_for_slots(execute: Callable[..., Awaitable[Any]], address: Address) -> SlotMap | None:
    """Ask a server for the map; None where it is no cluster's. Raises one of FAILURES where it does not answer."""
    try:
        answer: Any = await execute("CLUSTER", "SLOTS")
    except ResponseError:
        # It has no cluster, or does not let us ask: then it answers for itself.
        return None
    return read_slots(answer, address)


async def pipelined(server: Server, commands: Sequence[Command]) -> list[Any]:
    """Send commands in one round trip; return the answers, an exception in place of each that has none."""
    pipeline = server.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    try:
        return await pipeline.execute(raise_on_error=False)
    except FAILURES as error:
        return [error] * len(commands)


async def _answer_or_error(asked: Any) -> Any:
    try:
        return await asked
    except FAILURES as error:
        return error


def _named_by(error: AskError, asked: Address) -> Address:
    """Return where a redirection leads; without a host it is the one of the server that was asked."""
    return Address(error.host or asked.host, error.port)


def _key_of(args: Command) -> str | None:
    """Return a command's first key; None where it has none."""
    name = args[0]
    if name in ("EVALSHA", "EVAL"):
        return args[3] if int(args[2]) else None
    return None if name.partition(" ")[0] in _WITHOUT_KEY else args[1]
