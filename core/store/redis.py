"""Redis commands and scripts, to one server or to a cluster: who calls sees no difference. Pub/sub is in pubsub.py.

What Redis is, is found out with the first command. In a cluster all keys of a command or a script are in one slot, which the braces
in their names see to.
"""

import asyncio
from collections.abc import Mapping, Sequence
from hashlib import sha1
from pathlib import Path
from typing import Any, TypeVar

import hiredis
import redis.asyncio as redis_asyncio
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisIsAway
from redis.exceptions import NoScriptError, ReadOnlyError
from redis.exceptions import TimeoutError as RedisIsSilent

from core.clock import Clock, SystemClock
from core.settings import seeds_of
from core.store.cluster import FAILURES, Cluster, Command, ask_for_slots, pipelined
from core.store.slot_map import Address, SlotMap, address_of

CONNECT_SECONDS = 2.0
# No command of the hub blocks, so an answer that takes longer is a Redis that hangs.
ANSWER_SECONDS = 5.0


def connect_redis(url: str, clock: Clock | None = None) -> "Redis":
    """Return a client with its own pools; it connects when first used and answers bytes. The caller closes it with aclose().

    `url` names one server, or some nodes of a cluster: redis://one:7000,two:7000.
    """
    seeds = seeds_of(url)
    redis = _opened(Redis, seeds[0])
    redis.begin(seeds, clock or SystemClock())
    return redis


class _LossIsReported(AbstractConnection):
    """A connection whose loss is an error of Redis in every moment of it, whose commands can be cancelled, and which can be closed.

    uvloop raises RuntimeError where the other side has gone, the transport has closed, and its reader was not told yet.

    redis-py writes within asyncio.wait_for, which up to Python 3.11 forgets a cancellation that comes in the turn in which the
    write is done (bpo-37658): the task would go on for ever. From 3.12 on this changes nothing.
    """

    def pack_command(self, *args: Any) -> list[bytes]:
        """Pack a command in C; redis-py does it for clients without asyncio only."""
        name, *others = args
        words = name.split() if isinstance(name, (str, bytes)) else [name]
        # hiredis' stub knows tuples of one word only.
        return [hiredis.pack_command((*words, *others))]  # pyright: ignore[reportArgumentType]

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        task = asyncio.current_task()
        before = 0 if task is None else task.cancelling()
        try:
            await super().send_packed_command(command, check_health)
        except RuntimeError as error:
            raise RedisIsAway(str(error)) from error
        finally:
            # Also where the write has failed: whoever takes that for a Redis that is away would go on.
            if task is not None and task.cancelling() > before:
                # An answer may be on its way that nobody will read.
                await self.disconnect(nowait=True)
                raise asyncio.CancelledError

    async def disconnect(self, *args: Any, **options: Any) -> None:
        writer = self._writer
        try:
            await super().disconnect(*args, **options)
        except RedisIsSilent:
            # What waits to be sent, nobody takes. Closing is no reason to fail: often nobody is there who expects it.
            if writer is not None:
                writer.transport.abort()


class _Tcp(_LossIsReported, Connection):
    pass


class _Tls(_LossIsReported, SSLConnection):
    pass


class _Unix(_LossIsReported, UnixDomainSocketConnection):
    pass


_CONNECTIONS: Mapping[Any, Any] = {Connection: _Tcp, SSLConnection: _Tls, UnixDomainSocketConnection: _Unix}


class _Server(redis_asyncio.Redis):
    """A client of one server."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().execute_command(*args, **options)
        except ReadOnlyError:
            # It was a master once. By the same name another server may be it now, which only a new connection finds.
            await self.connection_pool.disconnect(inuse_connections=False)
            raise


S = TypeVar("S", bound=_Server)


class Redis(_Server):
    """One server, or a cluster. Raises what redis-py raises: RedisError, and OSError where a server cannot be reached."""

    _seeds: Sequence[str]
    _clock: Clock
    _other_seeds: Sequence[_Server]
    _finding: asyncio.Lock
    _is_single = False
    _cluster: Cluster | None = None

    def begin(self, seeds: Sequence[str], clock: Clock) -> None:
        """Set where to look first; for connect_redis."""
        self._seeds, self._clock = seeds, clock
        self._other_seeds = [_opened(_Server, seed) for seed in seeds[1:]]
        # Who comes while it is found out what Redis is, waits for that.
        self._finding = asyncio.Lock()

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command to the server that has its first key, wherever that has gone; one without a key to any."""
        if self._is_single or (cluster := await self._way()) is None:
            return await super().execute_command(*args, **options)
        return await cluster.execute(args, options)

    async def together(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one round trip a server; return the answers, an exception in place of each that has none."""
        try:
            cluster = await self._way()
            return await pipelined(self, commands) if cluster is None else await cluster.together(commands)
        except FAILURES as error:
            return [error] * len(commands)

    async def masters(self) -> list[redis_asyncio.Redis]:
        """Return a client for each server that has keys."""
        cluster = await self._way()
        return [self] if cluster is None else cluster.masters()

    async def slots(self, ask: Address | None = None) -> SlotMap:
        """Read anew where keys and channels are; from the server at `ask`, where that answers."""
        cluster = await self._way()
        return SlotMap.single(address_of(self._seeds[0])) if cluster is None else await cluster.learn(ask)

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close every connection."""
        if self._cluster is not None:
            await self._cluster.aclose()
        for server in self._other_seeds:
            await server.aclose()
        await super().aclose(close_connection_pool)

    async def _way(self) -> Cluster | None:
        if not self._is_single and self._cluster is None:
            async with self._finding:
                if not self._is_single and self._cluster is None:
                    await self._find_out()
        return self._cluster

    async def _find_out(self) -> None:
        """Find out what Redis is; raises what the last of the seeds does where none answers."""
        failed: Exception = RedisIsAway("No server is named")
        ways = [super().execute_command, *(server.execute_command for server in self._other_seeds)]
        for seed, execute in zip(self._seeds, ways, strict=True):
            try:
                slots = await ask_for_slots(execute, address_of(seed))
            except FAILURES as error:
                failed = error
                continue
            if slots is None:
                self._is_single = True
            else:
                self._cluster = Cluster(slots, [address_of(each) for each in self._seeds], self._open, self._clock)
            return
        raise failed

    def _open(self, address: Address) -> redis_asyncio.Redis:
        return _opened(_Server, self._seeds[0], host=address.host, port=address.port)


def _opened(kind: type[S], url: str, **instead: Any) -> S:
    client: Any = kind.from_url(
        url,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=ANSWER_SECONDS,
        health_check_interval=10,
        # Whoever calls decides whether a command may be sent twice.
        retry=Retry(NoBackoff(), 0),
    )
    pool = client.connection_pool
    pool.connection_class = _CONNECTIONS[pool.connection_class]
    # Else each new connection reads the library's version from its package: 1.2 ms, when all are made anew.
    pool.connection_kwargs.update(instead, driver_info=None)
    return client


class Script:
    """A Lua file, called by the hash of its text: two releases of it run side by side during a deploy.

    `keys` are all that it touches: by these a cluster refuses it while they are on their way to another server.
    Of several files the text is that of all, one behind the other: the first have what scripts share.
    """

    def __init__(self, *paths: Path) -> None:
        self._text = "\n".join(path.read_text() for path in paths)
        self.hash = sha1(self._text.encode(), usedforsecurity=False).hexdigest()

    async def run(self, redis: Redis, keys: Sequence[str], args: Sequence[str | bytes | int | float]) -> Any:
        """Run the script and return its answer; sends the text where the server does not have it."""
        try:
            return await redis.evalsha(self.hash, len(keys), *keys, *args)  # pyright: ignore[reportGeneralTypeIssues]
        except NoScriptError:
            return await redis.eval(self._text, len(keys), *keys, *args)  # pyright: ignore[reportGeneralTypeIssues]

    async def run_each(self, redis: Redis, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]) -> list[Any]:
        """Run the script for each (keys, args), together; an exception stands in place of an answer that there is not."""
        answers = await redis.together([("EVALSHA", self.hash, len(keys), *keys, *args) for keys, args in calls])
        unknown = [at for at, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            told = [("EVAL", self._text, len(calls[at][0]), *calls[at][0], *calls[at][1]) for at in unknown]
            for at, answer in zip(unknown, await redis.together(told), strict=True):
                answers[at] = answer
        return answers
