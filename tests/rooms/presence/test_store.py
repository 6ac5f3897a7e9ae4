"""Presence in a real Redis, without a node: members by subject, dense diffs, leases, the reaper, pages."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from core.errors import HubError
from core.store.redis import Redis, Script, connect_redis
from rooms import presence
from rooms.presence.page import Count, PresencePage
from rooms.presence.store import (
    ROOMS_AT_ONCE,
    Applied,
    Beaten,
    Changes,
    Dead,
    Gone,
    PresenceStore,
    Presentation,
    text_of,
)
from rooms.presence.wire import index_key, news_channel, nodes_key
from rooms.switch import Switch
from tests.harness.clock import ManualClock
from tests.harness.valkey import OwnRedis
from tests.harness.waiting import eventually
from tests.rooms.presence.ledger import TIME, Hand, Reader, all_members, shown

pytestmark = pytest.mark.each_redis

CHAT = "chat:a"
LATER = "2026-01-01T00:00:01.000000Z"


@pytest.fixture
def org_id() -> UUID:
    return uuid4()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect_redis(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
def store(redis: Redis) -> PresenceStore:
    """Without a tick: every change is told at once. Redis may have just started."""
    return PresenceStore(redis, tick_ms=0, starting=0)


@pytest.fixture
async def hand(store: PresenceStore, org_id: UUID) -> Hand:
    made = Hand(store, org_id)
    await made.begin()
    return made


@pytest.fixture
async def reader(redis_url: str, org_id: UUID, clock: ManualClock) -> AsyncIterator[Reader]:
    """Hears the room from its beginning."""
    switch, made = Switch(redis_url, clock=clock), Reader()
    made.version = 0
    await switch.open()
    await switch.subscribe(news_channel(org_id, CHAT), made)
    yield made
    await switch.close()


async def version(reader: Reader, number: int) -> None:
    await eventually(lambda: (reader.version or 0) >= number, what=f"version {number}")


class TestMembers:
    """A member is a subject, however many connections it has."""

    async def test_join_and_leave(self, hand: Hand, reader: Reader, store: PresenceStore, org_id: UUID):
        """Joined at the first connection, left after the last; versions are dense."""
        first = await hand.enter("c1", "ann")
        assert isinstance(first, Applied)
        assert (first.version, first.is_told) == (1, True)
        await hand.enter("c2", "bob")
        await hand.leave("c1")
        await version(reader, 3)
        assert reader.gaps == 0
        assert [(diff["joined"], diff["left"], diff["updated"]) for diff in reader.diffs] == [
            ([{"subject": "ann", "connections": 1, "data": None, "joined_at": TIME}], [], []),
            ([{"subject": "bob", "connections": 1, "data": None, "joined_at": TIME}], [], []),
            ([], [{"subject": "ann"}], []),
        ]
        assert reader.count == {"members": 1, "connections": 1}
        assert await all_members(store, org_id) == reader.members

    async def test_two_tabs_are_one_member(self, hand: Hand, reader: Reader):
        """The second is an update, and so is the end of the first; the member stays since it has joined."""
        await hand.enter("c1", "ann")
        await hand.enter("c2", "ann", since=LATER)
        await hand.leave("c1")
        await hand.leave("c2")
        await version(reader, 4)
        assert reader.told("joined") == ["ann"] == reader.told("left")
        seen = [(each["connections"], each["joined_at"]) for diff in reader.diffs for each in diff["updated"]]
        assert seen == [(2, TIME), (1, TIME)]

    async def test_registering_twice_changes_nothing(self, hand: Hand, reader: Reader):
        """What is not known to have arrived is sent again."""
        await hand.enter("c1", "ann", '{"a":1}')
        again = await hand.enter("c1", "ann", '{"a":1}')
        await hand.leave("c9")
        assert isinstance(again, Applied)
        assert again.version == 1

    async def test_leaving_and_coming_in_one_call_is_no_news(self, hand: Hand, reader: Reader):
        """Another connection takes the place of a lost one."""
        await hand.enter("c1", "ann")
        entry = Presentation(text_of("ann"), LATER)
        found = await hand.change(("c2", entry), ("c1", None))
        assert isinstance(found, Applied)
        assert (found.version, found.is_told) == (1, True)

    async def test_data_of_tabs_is_what_was_said_last(self, hand: Hand, store: PresenceStore, org_id: UUID):
        """And once that tab is gone, what was said last by those that are left."""

        async def data() -> Any:
            return (await all_members(store, org_id))["ann"]["data"]

        await hand.enter("c1", "ann", '{"at":1}')
        await hand.enter("c2", "ann")
        assert await data() == {"at": 1}
        await hand.enter("c2", "ann", '{"at":2}')
        await hand.enter("c3", "ann", '{"at":3}')
        await hand.enter("c1", "ann", '{"at":4}')
        assert await data() == {"at": 4}
        await hand.leave("c1")
        assert await data() == {"at": 3}
        await hand.leave("c3")
        await hand.leave("c2")
        assert await all_members(store, org_id) == {}

    @pytest.mark.parametrize(
        "subject", ['a"b\\c', "ä\x1fö", "a\nb", "<ünï> 💡"], ids=["quotes", "unit", "line", "text"]
    )
    async def test_any_subject_arrives_as_it_is(
        self, hand: Hand, reader: Reader, store: PresenceStore, org_id: UUID, subject: str
    ):
        """Subjects are text of tokens: whatever stands in them, they stay apart and are valid JSON."""
        await hand.enter("c1", subject, '{"x":"\\u001f"}')
        await hand.enter("c2", subject[:-1])
        await version(reader, 2)
        assert reader.members == await all_members(store, org_id, limit=1)
        assert reader.subjects == {subject, subject[:-1]}
        await hand.leave("c1")
        assert set(await all_members(store, org_id)) == {subject[:-1]}

    async def test_rooms_and_organisations_are_apart(self, hand: Hand, store: PresenceStore, org_id: UUID):
        """Of one name, or of one organisation, and yet others."""
        other, stranger = Hand(store, org_id, "chat:b"), Hand(store, uuid4())
        other.incarnation = hand.incarnation
        await stranger.begin()
        await hand.enter("c1", "ann")
        await other.enter("c2", "bob")
        await stranger.enter("c1", "eve")
        assert set(await all_members(store, org_id)) == {"ann"}
        assert set(await all_members(store, org_id, "chat:b")) == {"bob"}
        assert set(await all_members(store, stranger.org_id)) == {"eve"}


class TestPages:
    """In the order of subjects, bounded, with the count of all."""

    async def test_pages_have_everyone_once(self, hand: Hand, store: PresenceStore, org_id: UUID):
        """Also those who come and go beside the reading do not move the others."""
        entries = [(f"c{number}", Presentation(text_of(f"p{number:03}"), TIME)) for number in range(25)]
        await hand.change(*entries)
        first = await store.page(org_id, CHAT, limit=10)
        assert [each.subject for each in first.members] == [f"p{number:03}" for number in range(10)]
        assert (first.next, first.count) == ("p009", Count(25, 25))
        await hand.leave("c3")
        await hand.enter("c99", "p000a")
        second = await store.page(org_id, CHAT, first.next, limit=10)
        assert [each.subject for each in second.members] == [f"p{number:03}" for number in range(10, 20)]
        last = await store.page(org_id, CHAT, second.next, limit=10)
        assert (len(last.members), last.next) == (5, None)

    async def test_empty_room_has_a_place(self, hand: Hand, store: PresenceStore, org_id: UUID):
        """And keeps its epoch when somebody comes."""
        empty = await store.page(org_id, CHAT, limit=10)
        assert (empty.version, empty.count, empty.next) == (0, Count(0, 0), None)
        found = await hand.enter("c1", "ann")
        assert isinstance(found, Applied)
        assert found.epoch == empty.epoch


class TestTicks:
    """What changes within a tick is one diff."""

    async def test_busy_room_is_told_by_ticks(self, redis: Redis, reader: Reader, org_id: UUID):
        """The first at once, what follows together; who came and went in between is not told."""
        hand = Hand(PresenceStore(redis, tick_ms=60_000, starting=0), org_id)
        quick = Hand(PresenceStore(redis, tick_ms=0, starting=0), org_id)
        quick.incarnation = hand.incarnation
        await hand.begin()
        await hand.enter("c0", "first")
        for number in range(1, 20):
            found = await hand.enter(f"c{number}", f"p{number}")
            assert isinstance(found, Applied)
            assert (found.version, found.is_told) == (1, False)
        await hand.leave("c7")
        found = await quick.change()
        assert isinstance(found, Applied)
        assert (found.version, found.is_told) == (2, True)
        await version(reader, 2)
        assert reader.subjects == {"first", *(f"p{number}" for number in range(1, 20))} - {"p7"}
        assert "p7" not in reader.told("left")

    async def test_what_a_list_has_shown_is_taken_back(self, redis: Redis, reader: Reader, org_id: UUID):
        """Who came and went within a tick, or said something and took it back, is told where a list was read in between."""
        slow, quick = PresenceStore(redis, tick_ms=60_000, starting=0), PresenceStore(redis, tick_ms=0, starting=0)
        hand, other = Hand(slow, org_id), Hand(quick, org_id)
        await hand.begin()
        await other.begin()
        await hand.enter("c1", "ann", '{"at":1}')
        await version(reader, 1)
        await hand.enter("c3", "eve")
        await hand.leave("c3")
        await hand.enter("c2", "bob")
        await hand.enter("c1", "ann", '{"at":2}')
        reader.members = await all_members(slow, org_id)
        assert reader.subjects == {"ann", "bob"}
        await hand.leave("c2")
        await hand.enter("c1", "ann", '{"at":1}')
        await other.enter("c4", "dan")
        await version(reader, 2)
        assert reader.members == await all_members(slow, org_id)
        assert (reader.told("left"), reader.told("updated")) == (["bob"], ["ann"])

    async def test_diff_has_so_many_subjects_at_most(self, redis: Redis, reader: Reader, org_id: UUID):
        """The rest comes with the next ones."""
        hand = Hand(PresenceStore(redis, tick_ms=0, most_of_a_diff=10, starting=0), org_id)
        await hand.begin()
        found = await hand.change(*((f"c{n}", Presentation(text_of(f"p{n}"), TIME)) for n in range(25)))
        while isinstance(found, Applied) and not found.is_told:
            found = await hand.change()
        await version(reader, 3)
        assert [len(diff["joined"]) for diff in reader.diffs] == [10, 10, 5]
        assert len(reader.members) == 25


class TestLeases:
    """A node that does not beat is removed; one that comes back finds that it was."""

    async def test_dead_node_is_reaped_by_another_in_one_diff(
        self, store: PresenceStore, hand: Hand, reader: Reader, org_id: UUID
    ):
        """Whoever has another connection elsewhere stays."""
        dead = Hand(store, org_id)
        await dead.begin()
        await dead.change(*((f"d{n}", Presentation(text_of(f"p{n}"), TIME)) for n in range(50)))
        await hand.enter("c1", "p7")
        await dead.die()

        async def reaped() -> bool:
            return (await hand.reap()).removed == 50

        before = len(reader.diffs)
        await eventually(reaped)
        await eventually(lambda: reader.subjects == {"p7"})
        assert sum(bool(diff["left"]) for diff in reader.diffs[before:]) == 1
        assert "p7" not in reader.told("left")
        assert reader.gaps == 0

    async def test_large_dead_node_is_reaped_in_steps(self, store: PresenceStore, hand: Hand, org_id: UUID):
        """No call holds Redis for long."""
        dead = Hand(store, org_id)
        await dead.begin()
        for start in range(0, 2_500, 250):
            entries = [(f"d{n}", Presentation(text_of(f"p{n}"), TIME)) for n in range(start, start + 250)]
            await dead.change(*entries)
        await dead.die()
        await eventually(lambda: gone(dead))
        steps = [await hand.reap() for _ in range(4)]
        assert [(step.removed, len(step.more), step.is_done) for step in steps] == [
            (1000, 1, True), (1000, 1, True), (500, 0, True), (0, 0, True)
        ]  # fmt: skip
        assert (await store.page(org_id, CHAT, limit=1)).count == Count(0, 0)

    async def test_dead_node_of_many_rooms_is_reaped_in_one_step(
        self, redis: Redis, store: PresenceStore, org_id: UUID
    ):
        """By some pipelines, one after the other: none is of more rooms than ROOMS_AT_ONCE."""
        rooms = 2 * ROOMS_AT_ONCE + 1
        dead = Hand(store, org_id)
        await dead.begin()
        present = [("d", Presentation(text_of("p"), TIME))]
        await store.apply([Changes(org_id, f"chat:{n}", dead.incarnation, present) for n in range(rooms)])
        await dead.die()
        await eventually(lambda: gone(dead))
        reaped = await store.remove([Dead(org_id, dead.incarnation)])
        assert (reaped.removed, reaped.is_done, reaped.more) == (rooms, True, [])
        assert await redis.exists(index_key(org_id, dead.incarnation)) == 0

    async def test_several_reap_at_once(self, store: PresenceStore, hand: Hand, reader: Reader, org_id: UUID):
        """What one has removed, the others do not find; everybody is told to have left once."""
        dead = Hand(store, org_id)
        await dead.begin()
        await dead.change(*((f"d{n}", Presentation(text_of(f"p{n}"), TIME)) for n in range(50)))
        await dead.die()
        await eventually(lambda: gone(dead))
        reaped = await asyncio.gather(*(hand.reap() for _ in range(5)))
        assert sum(each.removed for each in reaped) == 50
        assert all(each.is_done for each in reaped)
        await eventually(lambda: not reader.members)
        assert sorted(reader.told("left")) == sorted(f"p{n}" for n in range(50))
        assert isinstance(found := await hand.beat(), Beaten)
        assert found.dead == []

    async def test_what_a_reaper_has_read_and_not_removed_is_found_again(
        self, redis: Redis, store: PresenceStore, hand: Hand, org_id: UUID
    ):
        """It may die in between. Who lives is not removed, whoever says so."""
        await hand.enter("c1", "ann")
        living = await store.remove([Dead(org_id, hand.incarnation)])
        assert (living.removed, living.is_done) == (0, True)
        await hand.die()
        await eventually(lambda: gone(hand))
        index = index_key(org_id, hand.incarnation)
        assert await redis.scard(index) == 1  # pyright: ignore[reportGeneralTypeIssues]
        left = Script(*(Path(presence.__file__).with_name(f"{name}.lua") for name in ("leases", "left")))
        keys = [nodes_key(org_id), index]
        assert await left.run(redis, keys, [hand.incarnation, 10]) == [b"chat:a\x1fc1"]
        assert await store.reap(org_id) == 1
        assert await left.run(redis, keys, [hand.incarnation, 10]) == []
        assert not await redis.exists(*keys)

    async def test_node_whose_lease_has_ended_changes_nothing(self, hand: Hand, store: PresenceStore, org_id: UUID):
        """Stopped and resumed, it is told that it is gone, before and after it was reaped; under another name it is back."""
        await hand.enter("c1", "ann", '{"a":1}')
        await hand.die()
        await eventually(lambda: gone(hand))
        assert isinstance(await hand.enter("c2", "bob"), Gone)
        old = hand.incarnation
        hand.incarnation = str(uuid4())
        assert [each.incarnation for each in (await hand.begin()).dead] == [old]
        assert await store.reap(org_id) == 1
        await hand.enter("c2", "bob")
        hand.incarnation = old
        assert isinstance(await hand.leave("c2"), Gone)
        assert set(await all_members(store, org_id)) == {"bob"}

    async def test_what_comes_back_in_time_was_never_away(self, hand: Hand, store: PresenceStore, reader: Reader):
        """It registers under its new name before anybody has removed it: not even a diff."""
        await hand.enter("c1", "ann", '{"a":1}')
        again = Hand(store, hand.org_id)
        await again.begin()
        await again.enter("c1", "ann")
        await hand.die()
        await eventually(lambda: gone(hand))
        assert await store.reap(hand.org_id) == 0
        assert (await all_members(store, hand.org_id))["ann"]["data"] == {"a": 1}
        await again.leave("c1")
        await version(reader, 2)
        assert (reader.told("joined"), reader.told("updated"), reader.told("left")) == (["ann"], [], ["ann"])

    async def test_reader_removes_the_dead_where_nobody_else_is(self, hand: Hand, store: PresenceStore, org_id: UUID):
        """A list never shows who died with the last node of its organisation."""
        await hand.enter("c1", "ann")
        await hand.die()
        await eventually(lambda: gone(hand))
        assert await store.reap(org_id) == 1
        assert await all_members(store, org_id) == {}

    async def test_nobody_is_removed_just_after_redis_has_started(self, redis: Redis, hand: Hand, org_id: UUID):
        """Leases have run out that no node could renew."""
        await hand.enter("c1", "ann")
        await hand.die()
        await eventually(lambda: gone(hand))
        assert await PresenceStore(redis, starting=10**9).reap(org_id) == 0

    async def test_node_that_leaves_is_forgotten(self, redis: Redis, hand: Hand, store: PresenceStore, org_id: UUID):
        """Nothing stays but the room's place."""
        await hand.enter("c1", "ann")
        await hand.leave("c1")
        await hand.beat(0.0)
        await store.reap(org_id)
        assert isinstance(await hand.beat(), Gone)
        left = [key async for key in redis.scan_iter(f"presence:{{{org_id}}}:*")] if redis_is_single(redis) else []
        assert set(left) <= {f"presence:{{{org_id}}}:room:{CHAT}".encode()}


async def test_restarted_redis_begins_another_epoch(own_redis: OwnRedis, org_id: UUID):
    """Whatever it kept: versions that were told may have been lost."""
    redis = connect_redis(own_redis.url)
    store = PresenceStore(redis, tick_ms=0, starting=0)
    hand = Hand(store, org_id)
    await hand.begin()
    before = await hand.enter("c1", "ann")
    own_redis.kill()
    own_redis.start()
    after = await eventually(lambda: store.page(org_id, CHAT, limit=10), retry_on=(HubError,))
    assert isinstance(before, Applied)
    assert after.epoch != before.epoch
    assert [each.subject for each in after.members] == ["ann"]
    await redis.aclose()


class Schedule:
    """Nodes that do things by chance, and what should come of it: whose each connection is, and its subject."""

    def __init__(self, hands: list[Hand], rng: random.Random) -> None:
        self.hands = hands
        self.rng = rng
        self.truth: dict[str, tuple[Hand, str]] = {}
        self.steps = 0

    async def step(self) -> None:
        self.steps += 1
        hand = self.rng.choice(self.hands)
        own = [connection for connection, (of, _) in self.truth.items() if of is hand]
        kind = self.rng.choice(("enter", "enter", "say", "leave", "die"))
        if kind == "enter" or not own:
            await self._enter(hand)
        elif kind == "say":
            connection = self.rng.choice(own)
            await hand.enter(connection, self.truth[connection][1], f'{{"n":{self.steps}}}')
        elif kind == "leave":
            connection = self.rng.choice(own)
            del self.truth[connection]
            await hand.leave(connection)
        elif self.rng.random() < 0.2:
            await self._die(hand, own)

    async def _enter(self, hand: Hand) -> None:
        connection, subject = f"c{self.steps}", f"p{self.rng.randrange(12)}"
        self.truth[connection] = (hand, subject)
        await hand.enter(connection, subject)

    async def _die(self, hand: Hand, own: list[str]) -> None:
        await hand.die()
        await eventually(lambda: gone(hand))
        for connection in own:
            del self.truth[connection]
        hand.incarnation = str(uuid4())
        await hand.begin()

    @property
    def expected(self) -> dict[str, int]:
        return dict(Counter(subject for _, subject in self.truth.values()))


@pytest.mark.parametrize("round", range(3))
async def test_random_schedule_ends_in_the_truth(
    store: PresenceStore, reader: Reader, org_id: UUID, round: int, redis: Redis
):
    """Joins, leaves, data and deaths by chance: what diffs add up to is what is stored, and what a model says, whatever list was
    read at first."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    slow = PresenceStore(redis, tick_ms=20, most_of_a_diff=5, starting=0)
    schedule = Schedule([Hand(rng.choice((store, slow)), org_id) for _ in range(3)], rng)
    for hand in schedule.hands:
        await hand.begin()
    lists: list[PresencePage] = []
    for _ in range(150):
        await schedule.step()
        if rng.random() < 0.3:
            lists.append(await store.page(org_id, CHAT, limit=500))
    await store.reap(org_id)

    async def all_is_told() -> Applied | None:
        found = await schedule.hands[0].change()
        return found if isinstance(found, Applied) and found.is_told else None

    await version(reader, (await eventually(all_is_told)).version)
    stored = await all_members(store, org_id, limit=3)
    assert {subject: member["connections"] for subject, member in stored.items()} == schedule.expected
    assert reader.members == stored
    for page in lists:
        late = Reader()
        late.members = shown(page)
        for told in reader.diffs[page.version :]:
            late.take_told(told, 0, 0, "")
        assert late.members == stored
    assert reader.count == {"members": len(schedule.expected), "connections": len(schedule.truth)}
    assert reader.gaps == 0


async def gone(hand: Hand) -> bool:
    """Tell whether the lease has ended, without reaping."""
    return isinstance(await hand.change(), Gone)


def redis_is_single(redis: Redis) -> bool:
    """Tell whether all keys are on one server, where they can be scanned."""
    return redis._is_single  # pyright: ignore[reportPrivateUsage]
