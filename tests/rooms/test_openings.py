"""Joining an answer in the middle: what was said so far, then what follows, whenever that is, whatever Redis loses."""

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest

from core.auth.caller import Caller
from core.clock import SystemClock
from core.errors import HubError
from core.events.event import Entry
from core.store.redis import connect_redis
from rooms.beginnings import UNKNOWN, Beginning
from rooms.live import LiveRooms
from rooms.live_following import RoomReset
from rooms.live_rules import LiveRules
from rooms.live_store import LiveStore
from rooms.openings import Openings
from rooms.recovery import Bookmark
from rooms.switch import Switch
from tests.harness.valkey import OwnRedis
from tests.harness.waiting import END_SECONDS, cancelled, eventually
from tests.rooms.answering import Keeper, Reader, Writer

CALLER = Caller(uuid4(), "test", frozenset(), "enterprise")
RUNS, READERS, WORDS = 10, 32, 60


class Nobody:
    """A sink without members."""

    def deliver(self, org_id: UUID, entries: Sequence[Entry]) -> asyncio.Future[None] | None:
        """As LiveSink.deliver."""

    def deliver_latest(self, org_id: UUID, entries: Sequence[Entry], rules: LiveRules) -> None:
        """As LiveSink.deliver_latest."""

    def settle(self, org_id: UUID, channel: str) -> None:
        """As LiveSink.settle."""

    def signal(self, org_id: UUID, channel: str, envelope: str) -> None:
        """As LiveSink.signal."""

    def reset_room(self, org_id: UUID, channel: str, epoch: str, offset: int, reason: str) -> None:
        """As LiveSink.reset_room."""

    def channels(self, org_id: UUID, prefix: str) -> list[str]:
        """As LiveSink.channels."""
        return []


@asynccontextmanager
async def rooms_at(url: str) -> AsyncGenerator[LiveRooms]:
    """Open the live rooms of a node."""
    clock = SystemClock()
    redis = connect_redis(url)
    switch = Switch(url, clock=clock)
    rooms = LiveRooms(LiveStore(redis), switch=switch, clock=clock, sink=Nobody())
    await switch.open()
    running = asyncio.create_task(rooms.run())
    try:
        yield rooms
    finally:
        await cancelled(running)
        await rooms.close()
        await switch.close()
        await redis.aclose()


@asynccontextmanager
async def openings_of(rooms: LiveRooms, keeper: Keeper) -> AsyncGenerator[Openings]:
    openings = Openings(rooms, keeper, SystemClock())
    try:
        yield openings
    finally:
        await openings.close()


async def write_with_readers(writer: Writer, openings: Openings, rolls: random.Random, readers: list[Reader]) -> None:
    """Write an answer of several attempts; at each word some readers join. Return when all have read to the end."""
    joins = sorted(rolls.randrange(WORDS) for _ in readers)
    async with asyncio.TaskGroup() as tasks:
        await writer.start()
        for word in range(WORDS):
            while joins and joins[0] <= word:
                joins.pop(0)
                tasks.create_task(readers[len(joins)].read(openings, CALLER, writer.channel))
            if rolls.random() < 0.04:
                writer.take_up()
                await writer.start()
            await writer.write(1)
        await writer.end()


async def test_whoever_joins_whenever_has_the_whole_answer(redis_url: str):
    """320 readers at random moments of answers that are taken up by other workers, with words lost: no gap, and no double."""
    async with rooms_at(redis_url) as rooms:
        keeper = Keeper(random.Random(1))
        async with openings_of(rooms, keeper) as openings, asyncio.timeout(END_SECONDS):
            for seed in range(RUNS):
                rolls = random.Random(seed)
                writer = Writer(rooms, keeper, CALLER.org_id, f"runs:{uuid4()}", rolls)
                writer.loses = 0.05 * (seed % 2)
                readers = [Reader() for _ in range(READERS)]
                await write_with_readers(writer, openings, rolls, readers)
                for reader in readers:
                    assert reader.text == writer.text, (seed, reader)
                    assert (reader.gaps, reader.types[0]) == (0, "run.snapshot"), (seed, reader)
                    assert reader.doubles == 0, (seed, reader)


class EndsMeanwhile:
    """Beginnings of a room in which all was said between the first look, which did not know where, and the second."""

    def __init__(self, rooms: LiveRooms, channel: str) -> None:
        self._rooms = rooms
        self._channel = channel
        self._has_ended = False

    def covers(self, namespace: str) -> bool:
        """As Beginnings.covers."""
        return namespace == "runs"

    async def find(self, caller: Caller, channel: str) -> Beginning:
        """As Beginnings.find."""
        if self._has_ended:
            return Beginning("completed")
        feed = await self._rooms.acquire(caller.org_id, channel)
        for word in ("run.started", "run.delta"):
            await self._rooms.publish(caller.org_id, channel, word, b"{}", source="test")
        await eventually(lambda: feed.last == 2)
        self._rooms.release(caller.org_id, channel)
        self._has_ended = True
        return Beginning("running", UNKNOWN)


async def test_what_the_whole_answer_holds_does_not_come_after_it(redis_url: str):
    """Its writer was stopped before it had kept a place, and has said all since: what follows is what follows the last look."""
    channel = f"runs:{uuid4()}"
    async with rooms_at(redis_url) as rooms, asyncio.timeout(END_SECONDS):
        openings = Openings(rooms, EndsMeanwhile(rooms, channel), SystemClock())
        async with openings.following(CALLER, channel) as (envelope, entries):
            await rooms.publish(CALLER.org_id, channel, "run.completed", b"{}", source="test")
            assert envelope == "completed"
            assert (await anext(entries)).position == 3
        await openings.close()


async def test_redis_that_starts_anew_meanwhile(own_redis: OwnRedis):
    """With and without what it held: everyone has the whole answer at the end."""
    async with rooms_at(own_redis.url) as rooms:
        keeper = Keeper(random.Random(2))
        async with openings_of(rooms, keeper) as openings, asyncio.timeout(END_SECONDS), asyncio.TaskGroup() as tasks:
            writer = Writer(rooms, keeper, CALLER.org_id, f"runs:{uuid4()}", random.Random(3))
            await writer.start()
            readers = [Reader() for _ in range(12)]
            for part in range(4):
                for reader in readers[part * 3 : part * 3 + 3]:
                    tasks.create_task(reader.read(openings, CALLER, writer.channel))
                    await writer.write(15)
                if part < 3:
                    own_redis.restart(empty=part % 2 == 0)
            await writer.end()
        assert [reader.text for reader in readers] == [writer.text] * len(readers)


async def test_kept_place_of_before_redis_was_lost_is_waited_for(own_redis: OwnRedis):
    """The writer has gone on in the new epoch, and keeps that a little later."""
    async with rooms_at(own_redis.url) as rooms:
        keeper = Keeper()
        async with openings_of(rooms, keeper) as openings, asyncio.timeout(END_SECONDS):
            writer = Writer(rooms, keeper, CALLER.org_id, f"runs:{uuid4()}", random.Random(4))
            await writer.start()
            await writer.write(5)
            writer.keep()
            own_redis.restart(empty=True)
            await writer.write(1)
            writer.kept.mark = Bookmark(5, "lost")
            reader = Reader()
            reading = asyncio.create_task(reader.read(openings, CALLER, writer.channel))
            await eventually(lambda: keeper.looks >= 2, what="another look")
            await writer.write(3)
            writer.keep()
            await writer.end()
            await reading
            assert (reader.text, reader.gaps) == (writer.text, 0)


@pytest.mark.each_redis
async def test_many_who_join_at_once_are_one_look(redis_url: str):
    """However many they are."""
    async with rooms_at(redis_url) as rooms:
        keeper = Keeper()
        async with openings_of(rooms, keeper) as openings, asyncio.timeout(END_SECONDS), asyncio.TaskGroup() as tasks:
            writer = Writer(rooms, keeper, CALLER.org_id, f"runs:{uuid4()}", random.Random(5))
            await writer.start()
            await writer.write(3)
            feed = await rooms.acquire(CALLER.org_id, writer.channel)
            readers = [Reader() for _ in range(200)]
            for reader in readers:
                tasks.create_task(reader.read(openings, CALLER, writer.channel))
            await writer.write(3)
            await writer.end()
            rooms.release(feed.org_id, writer.channel)
        assert {reader.text for reader in readers} == {writer.text}
        assert keeper.looks < 10


class TestFollow:
    """A reader in the process: in order, each once."""

    @pytest.mark.each_redis
    async def test_after_a_mark_and_from_the_present(self, redis_url: str):
        """What is in memory, what is in the history, what comes."""
        channel, org_id = f"runs:{uuid4()}", uuid4()
        async with rooms_at(redis_url) as rooms, asyncio.timeout(END_SECONDS):
            said = [await rooms.publish(org_id, channel, "x", b"%d" % n, source="test") for n in range(600)]
            mark = Bookmark(said[9].offset, said[9].epoch)
            async with rooms.follow(org_id, channel, mark) as old, rooms.follow(org_id, channel, Bookmark()) as new:
                assert new.mark == Bookmark(600, mark.epoch)
                for n in range(5):
                    await rooms.publish(org_id, channel, "x", b"%d" % n, source="test")
                assert [(await anext(old)).position for _ in range(595)] == list(range(11, 606))
                assert [(await anext(new)).position for _ in range(5)] == list(range(601, 606))
                assert old.mark == new.mark == Bookmark(605, mark.epoch)

    @pytest.mark.each_redis
    async def test_room_that_is_carried_with_others(self, redis_url: str):
        """Only its own events."""
        org_id = uuid4()
        async with (
            rooms_at(redis_url) as rooms,
            asyncio.timeout(END_SECONDS),
            rooms.follow(org_id, "users:me", Bookmark()) as entries,
        ):
            for n in range(20):
                await rooms.publish(org_id, f"users:{'me' if n % 2 else 'you'}", "x", b"1", source="test")
            assert [(await anext(entries)).position for _ in range(10)] == list(range(1, 11))

    async def test_what_is_gone_is_said(self, own_redis: OwnRedis):
        """At the beginning, and in the middle."""
        channel, org_id = f"runs:{uuid4()}", uuid4()
        async with rooms_at(own_redis.url) as rooms, asyncio.timeout(END_SECONDS):
            with pytest.raises(RoomReset) as reset:
                async with rooms.follow(org_id, channel, Bookmark(5, "lost")):
                    pass
            assert reset.value.reason == "epoch"
            async with rooms.follow(org_id, channel, Bookmark()) as entries:
                own_redis.restart(empty=True)
                with pytest.raises(RoomReset):
                    await anext(entries)

    async def test_room_that_nobody_may_know_of(self, redis_url: str):
        """And nothing is held afterwards."""
        async with rooms_at(redis_url) as rooms, openings_of(rooms, Keeper()) as openings:
            with pytest.raises(HubError, match="no such channel"):
                async with openings.following(CALLER, f"runs:{uuid4()}"):
                    pass
