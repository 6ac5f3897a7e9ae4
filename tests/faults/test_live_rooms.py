"""Live rooms while Redis and sockets are hurt: per epoch every offset once and in order, or a reset that says from where."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from redis.exceptions import RedisError

from core.clock import SystemClock
from core.errors import HubError
from core.store.redis import connect_redis
from tests.harness.organisations import Organisation
from tests.harness.stream_client import StreamReader
from tests.harness.valkey import OwnRedis
from tests.harness.waiting import eventually, let_pass
from tests.hub.stream.node import Node, serve

FAULTS = 12
READERS = 3


class Book:
    """What was published, as far as Redis has answered, and what readers may have got."""

    def __init__(self) -> None:
        self.events: dict[tuple[str, str, int], str] = {}
        self.lost_answers = 0

    async def publish(self, node: Node, organisation: Organisation, channel: str, data: bytes = b"1") -> str | None:
        """Publish; return the event's id, None where Redis did not answer."""
        try:
            done = await node.live.publish(organisation.id, channel, "chat.message", data, source="test")
        except HubError:
            self.lost_answers += 1
            return None
        place = (channel, done.epoch, done.offset)
        assert place not in self.events, f"an offset was given twice: {place}"
        self.events[place] = str(done.event_id)
        return str(done.event_id)

    def check(self, reader: StreamReader) -> None:
        """Every event once; from the start or a reset on, offsets go up by one; each is the event that was published there."""
        assert not reader.problems, reader.problems
        doubled = [id for id, times in Counter(each.event["id"] for each in reader.received).items() if times > 1]
        assert not doubled, doubled
        resets = {(each["channel"], each["epoch"], int(each["offset"])) for each in reader.resets}
        for channel in reader.channels:
            start = reader.start[channel]
            before = (start.epoch, start.offset)
            for each in (each for each in reader.received if each.channel == channel):
                place = (each.epoch, each.offset - 1)
                assert place == before or (channel, *place) in resets, f"a gap after {before}: {each}"
                known = self.events.get((channel, each.epoch, each.offset), each.event["id"])
                assert each.event["id"] == known, each
                before = (each.epoch, each.offset)


@asynccontextmanager
async def publishing(
    book: Book, nodes: list[Node], organisation: Organisation, channels: list[str], rng: random.Random
) -> AsyncGenerator[None]:
    """Publish without end, from both nodes at once."""

    async def work(node: Node) -> None:
        while True:
            await book.publish(node, organisation, rng.choice(channels))
            await let_pass(rng.random() * 0.01)

    tasks = [asyncio.create_task(work(node)) for node in nodes]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            assert task.cancelled(), task


class World:
    """Two nodes, readers on either, a chat and the readers' own room."""

    def __init__(self, nodes: list[Node], organisation: Organisation, readers: list[StreamReader], own: str) -> None:
        self.nodes = nodes
        self.organisation = organisation
        self.readers = readers
        self.channels = ["chat:a", own]
        self.book = Book()

    async def all_go_on(self) -> None:
        """Publish until every reader gets it: the first event of a new epoch may be what tells a node of it."""
        for channel in self.channels:
            for reader in self.readers:
                await eventually(
                    lambda channel=channel, reader=reader: self._gets(reader, channel),
                    within=30,
                    retry_on=(AssertionError,),
                )
        for reader in self.readers:
            self.book.check(reader)

    async def _gets(self, reader: StreamReader, channel: str) -> bool:
        event_id = await self.book.publish(self.nodes[0], self.organisation, channel)
        if event_id is None:
            return False
        await reader.has([event_id], within=1)
        return True


@asynccontextmanager
async def world(organisation: Organisation, redis_url: str) -> AsyncGenerator[World]:
    """Open it; everything has joined."""
    key = await organisation.key()
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(serve(organisation.database_url, redis_url, SystemClock()))
            for _ in range(2)
        ]
        async with nodes[0].open(key) as client:
            own = f"users:{(await client.receive())['subject']}"
        readers = [
            await stack.enter_async_context(StreamReader([nodes[number % 2].url], key, ["chat:a", own]))
            for number in range(READERS)
        ]
        for reader in readers:
            await reader.joined()
        yield World(nodes, organisation, readers, own)


async def test_random_faults_of_redis_and_sockets(organisation: Organisation, own_redis: OwnRedis, seed: int):
    """Killed and started again, started empty, emptied, pub/sub dropped, sockets cut, while two nodes publish."""
    rng = random.Random(seed)
    async with world(organisation, own_redis.url) as at:
        async with publishing(at.book, at.nodes, organisation, at.channels, rng):
            for _ in range(FAULTS):
                await let_pass(rng.random() * 0.3)
                match rng.randrange(5):
                    case 0:
                        await asyncio.to_thread(own_redis.restart)
                    case 1:
                        await asyncio.to_thread(own_redis.restart, empty=True)
                    case 2:
                        rng.choice(at.readers).cut()
                    case 3:
                        await command(own_redis, "CLIENT", "KILL", "TYPE", "pubsub")
                    case _:
                        await command(own_redis, "FLUSHALL")
            await eventually(lambda: len(at.book.events) > 100, within=30, what="something was published meanwhile")
        await at.all_go_on()


async def test_redis_that_hangs_loses_nothing(organisation: Organisation, own_redis: OwnRedis, seed: int):
    """No restart, so no reset: what could be published arrives, once and in order; no socket is closed."""
    async with world(organisation, own_redis.url) as at:
        async with publishing(at.book, at.nodes, organisation, at.channels, random.Random(seed)):
            await let_pass(0.3)
            own_redis.pause()
            await let_pass(6.0)  # longer than it takes to give a silent connection up: the length is the fault
            own_redis.resume()
            await let_pass(0.5)
        await at.all_go_on()
        for reader in at.readers:
            assert (reader.connections, reader.resets) == (1, [])


async def command(server: OwnRedis, *words: str) -> None:
    """Send a command, if Redis answers."""
    client = connect_redis(server.url)
    with contextlib.suppress(RedisError, OSError):
        await client.execute_command(*words)
    await client.aclose()
