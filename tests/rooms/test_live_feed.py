"""A live feed under any schedule: what Redis publishes, loses and forgets; a member sees each offset once, or a reset."""

import asyncio
import random
from collections.abc import Coroutine, Sequence
from typing import Any, Literal
from uuid import UUID, uuid4

import pytest

from core.events.event import Entry
from rooms.live_feed import LiveFeed
from rooms.live_rules import LiveRules
from rooms.live_store import Head, Snapshot
from rooms.live_wire import LiveEntry, body_of, decode_message
from rooms.wire import SEPARATOR
from tests.harness.clock import ManualClock
from tests.harness.waiting import eventually
from tests.rooms.model import Chance, Vessel

ORG, CHANNEL = uuid4(), "chat:a"


class MemoryRoom:
    """One room as Redis has it; stands where LiveStore stands."""

    def __init__(self, chance: Chance, keeps: int) -> None:
        self.head = Head("e1", 0)
        self.entries: list[LiveEntry] = []
        self.given: dict[tuple[str, int], str] = {}
        self.chance = chance
        self._keeps = keeps
        self._epochs = 1

    def publish(self) -> bytes:
        """Publish an event; return the message that goes out."""
        self.head = Head(self.head.epoch, self.head.position + 1)
        envelope = str(len(self.given))
        self.given[self.head.epoch, self.head.position] = envelope
        self.entries.append(LiveEntry(self.head.position, CHANNEL, envelope, self.head.position, ""))
        del self.entries[: -self._keeps]
        return SEPARATOR.join(("1", self.head.epoch, str(self.head.position), body_of(CHANNEL, envelope))).encode()

    def restart(self, lost: int) -> None:
        """Begin a new epoch with what is left; `lost` of the last events are not."""
        self._epochs += 1
        del self.entries[len(self.entries) - min(lost, len(self.entries)) :]
        self.head = Head(f"e{self._epochs}", max(0, self.head.position - lost))

    async def read(
        self,
        org_id: UUID,
        channel: str,
        direction: Literal["after", "before"] = "after",
        offset: int | None = None,
        *,
        limit: int,
    ) -> Snapshot:
        """As LiveStore.read."""
        await self.chance.engine()
        after = [entry for entry in self.entries if direction == "before" or entry.position > (offset or 0)]
        found = Snapshot(self.head, self.head, after[:limit] if direction == "after" else after[-limit:])
        await self.chance.delay()
        return found

    async def heads(self, org_id: UUID, channels: Sequence[str]) -> list[Head]:
        """As LiveStore.heads."""
        await self.chance.engine()
        found = [self.head for _ in channels]
        await self.chance.delay()
        return found


class Member(Vessel):
    """A sink that checks what it is given. `at` is where it is."""

    def __init__(self, room: MemoryRoom, rng: random.Random | None = None, fills: float = 0.0) -> None:
        super().__init__(rng, fills)
        self.at = Head("", 0)
        self.resets: list[str] = []
        self.got = 0
        self._room = room

    def deliver(self, org_id: UUID, entries: Sequence[Entry]) -> asyncio.Future[None] | None:
        for entry in entries:
            assert entry.position == self.at.position + 1, (self.at, entry)
            assert self._room.given[self.at.epoch, entry.position] == entry.envelope
            self.at = Head(self.at.epoch, entry.position)
            self.got += 1
        return self.take()

    def deliver_latest(self, org_id: UUID, entries: Sequence[Entry], rules: LiveRules) -> None:
        raise AssertionError("no room here delivers the newest only")

    def settle(self, org_id: UUID, channel: str) -> None:
        raise AssertionError("no room here changes how it delivers")

    def signal(self, org_id: UUID, channel: str, envelope: str) -> None:
        raise AssertionError("nothing here is for those alone who are there")

    def reset_room(self, org_id: UUID, channel: str, epoch: str, offset: int, reason: str) -> None:
        assert channel == CHANNEL
        if epoch == self.at.epoch:
            assert reason == "history", "nothing was lost"
            assert offset > self.at.position
        self.at = Head(epoch, offset)
        self.resets.append(reason)

    def channels(self, org_id: UUID, prefix: str) -> list[str]:
        return []


class Schedule:
    """What can happen, chosen by a seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        failures = self.rng.choice((0.0, 0.0, 0.3))
        self.room = MemoryRoom(Chance(self.rng, failures=failures), keeps=self.rng.choice((3, 1000)))
        self.member = Member(self.room, self.rng, fills=self.rng.choice((0.0, 0.1, 0.5)))
        self.clock = ManualClock()
        self.tasks: list[asyncio.Task[None]] = []
        self.wire: list[bytes] = []
        self.feed = LiveFeed(ORG, CHANNEL, store=self.room, sink=self.member, clock=self.clock, spawn=self.spawn)

    async def start(self) -> None:
        chance, self.room.chance = self.room.chance, Chance(self.rng)
        await self.feed.start()
        self.room.chance = chance
        self.member.at = Head(self.feed.epoch, self.feed.last)

    async def step(self) -> None:
        match self.rng.choices(range(6), (50, 5, 3, 3, 10, 30))[0]:
            case 0:
                self.wire.append(self.room.publish())
            case 1:
                self.wire.clear()
                if self.rng.random() < 0.5:
                    self.feed.check()
            case 2:
                self.room.restart(self.rng.randrange(4))
            case 3:
                self.room.restart(1000)
            case 4:
                self.member.make_room()
            case _:
                count = self.rng.randrange(1, 6)
                arrived, self.wire[:] = self.wire[:count], self.wire[count:]
                if arrived:
                    self.feed.receive(arrived)
        if self.rng.random() < 0.3:
            await self.clock.advance(self.rng.random())
        elif self.rng.random() < 0.5:
            await asyncio.sleep(0)

    async def settle(self) -> None:
        """Let everything arrive that is on its way, and the quiet check come."""
        if self.wire:
            self.feed.receive(self.wire)
        self.feed.check()

        async def rests() -> bool:
            self.member.make_room()
            await self.clock.advance(1.0)
            return all(task.done() for task in self.tasks)

        await eventually(rests, every=0)
        for task in self.tasks:
            task.result()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self.tasks.append(task)
        return task


@pytest.mark.parametrize("seed", range(150))
async def test_any_schedule(seed: int):
    """No gap, no double, no other event under an offset; in the end the member is where the room is."""
    schedule = Schedule(seed)
    await schedule.start()
    for _ in range(200):
        await schedule.step()
    await schedule.settle()
    assert schedule.member.at == schedule.room.head == Head(schedule.feed.epoch, schedule.feed.last)


async def test_lost_messages_are_read_from_the_history():
    """Without a reset: the history has them."""
    schedule = Schedule(1)
    schedule.room = MemoryRoom(Chance(random.Random(1)), keeps=1000)
    schedule.member = Member(schedule.room)
    schedule.feed = LiveFeed(
        ORG, CHANNEL, store=schedule.room, sink=schedule.member, clock=schedule.clock, spawn=schedule.spawn
    )
    await schedule.start()
    for _ in range(5):
        schedule.room.publish()
    schedule.feed.receive([schedule.room.publish()])
    await schedule.settle()
    assert (schedule.member.got, schedule.member.resets) == (6, [])


async def test_closed_feed_hands_over_nothing():
    """Another feed may have its place: whoever still knows it, a comparison that was under way, does not wake it."""
    schedule = Schedule(1)
    await schedule.start()
    schedule.feed.close()
    schedule.room.restart(0)
    message = schedule.room.publish()
    schedule.feed.receive([message])
    schedule.feed.check()
    await schedule.settle()
    assert (schedule.member.got, schedule.member.resets) == (0, [])


def test_message_of_another_form_is_none():
    """A later release's, or garbage."""
    assert decode_message(b"2\x1fe\x1f1\x1fa\x1f\x1f\x1f{}") is None
    assert decode_message(b"1\x1fe\x1fx\x1fa\x1f\x1f\x1f{}") is None
    assert decode_message(b"1\x1fe\x1f1\x1fa") is None
    assert decode_message(b"\xff") is None
    assert decode_message(b"1\x1fe\x1f7\x1fa\x1f\x1f\x1f{}") == ("e", LiveEntry(7, "a", "{}", 7, ""))
    assert decode_message(b"1\x1fe\x1f7\x1fa\x1f2\x1fr\x1f{}") == ("e", LiveEntry(2, "a", "{}", 7, "r"))
