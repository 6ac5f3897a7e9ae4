"""The presence of nodes in one process, with a real Redis: what each registers, what each hears, and what faults leave."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from core.clock import SystemClock
from core.deadline import end_tasks
from core.errors import HubError
from core.store.redis import FAILURES, connect_redis
from rooms.presence.presence import Presence
from rooms.presence.registrar import BREATH_SECONDS, PAUSE_SECONDS
from rooms.presence.store import TICK_MS, Applied, Changes, Gone, PresenceStore, Presentation, text_of
from rooms.switch import Switch
from tests.harness.clock import ManualClock
from tests.harness.valkey import OwnRedis
from tests.harness.waiting import eventually
from tests.rooms.presence.ledger import Reader, shown

CHAT = "chat:a"


@pytest.fixture
def org_id() -> UUID:
    return uuid4()


class Node:
    """One node's presence; `reader` hears what it is told of the room once `hear` was called."""

    def __init__(self, presence: Presence, store: PresenceStore, running: asyncio.Task[None]) -> None:
        self.presence = presence
        self.store = store
        self.reader = Reader()
        self._running = running

    async def kill(self) -> None:
        """End without a word."""
        await end_tasks([self._running])

    async def hear(self, org_id: UUID) -> Reader:
        feed = await self.presence.acquire(org_id, CHAT)
        page = await self.presence.members(org_id, CHAT, limit=500)
        self.reader.members, self.reader.version, self.reader.epoch = shown(page), feed.last, feed.epoch
        return self.reader

    async def join(self, org_id: UUID, connection: str, subject: str) -> None:
        self.presence.join(org_id, CHAT, subject, connection)
        await self.presence.joined(org_id, CHAT, connection)


class LateStore(PresenceStore):
    """Whose answers to changes come once that is `allowed`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.allowed = asyncio.Event()

    async def apply(self, changes: Sequence[Changes]) -> list[Applied | Gone | Exception]:
        answers = await super().apply(changes)
        await self.allowed.wait()
        return answers


@asynccontextmanager
async def node_on(
    redis_url: str,
    *,
    grace: float = 0.0,
    clock: Any = None,
    settle: float = 0.5,
    tick_ms: int = TICK_MS,
    kind: type[PresenceStore] = PresenceStore,
) -> AsyncGenerator[Node]:
    redis, switch = connect_redis(redis_url), Switch(redis_url, clock=SystemClock())
    store = kind(redis, starting=0, tick_ms=tick_ms)
    made: list[Node] = []

    class Sink:
        def tell(self, org_id: UUID, channel: str, diffs: Any) -> None:
            made[0].reader.tell(org_id, channel, diffs)

    await switch.open()
    presence = Presence(store, switch=switch, clock=clock or SystemClock(), sink=Sink(), grace=grace, settle=settle)
    running = asyncio.create_task(presence.run())
    node = Node(presence, store, running)
    made.append(node)
    try:
        yield node
        assert not running.done() or running.cancelled(), running
    finally:
        await presence.close()
        await end_tasks([running])
        await switch.close()
        await redis.aclose()


class TestRegistering:
    """What a node has is in Redis, whatever happens in between."""

    async def test_join_say_and_leave(self, redis_url: str, org_id: UUID):
        """Each returns when others can know of it."""
        async with node_on(redis_url) as one, node_on(redis_url) as two:
            reader = await two.hear(org_id)
            await one.join(org_id, "c1", "ann")
            assert [each.subject for each in (await two.presence.members(org_id, CHAT)).members] == ["ann"]
            await one.presence.say(org_id, CHAT, "c1", b'{"a":1}')
            await eventually(lambda: reader.members.get("ann", {}).get("data") == {"a": 1})
            one.presence.leave(org_id, CHAT, "c1")
            await eventually(lambda: not reader.members)
            assert reader.gaps == 0
            assert one.presence.counts.connections == 0

    async def test_thousand_at_once(self, redis_url: str, org_id: UUID):
        """They go together; everybody hears of all in few diffs."""
        async with node_on(redis_url) as one, node_on(redis_url) as two:
            reader = await two.hear(org_id)
            await asyncio.gather(*(one.join(org_id, f"c{n}", f"p{n}") for n in range(1_000)))
            await eventually(lambda: len(reader.members) == 1_000)
            assert reader.gaps == 0
            assert len(reader.diffs) <= 12
            assert reader.count == {"members": 1_000, "connections": 1_000}

    async def test_one_organisation_does_not_wait_while_another_rests(
        self, redis_url: str, org_id: UUID, clock: ManualClock
    ):
        """Who has just registered something collects what follows; who has not goes at once, or behind what is being sent."""
        async with node_on(redis_url, clock=clock) as one:
            await one.join(org_id, "c1", "ann")
            later = asyncio.create_task(one.join(org_id, "c2", "bob"))
            other = asyncio.create_task(one.join(uuid4(), "c3", "eve"))
            await clock.advance(BREATH_SECONDS)
            await eventually(other.done)
            assert not later.done()
            await clock.advance(PAUSE_SECONDS)
            await eventually(later.done)

    async def test_node_that_closes_leaves_its_members_the_grace(self, redis_url: str, org_id: UUID):
        """Its clients come back elsewhere meanwhile: who does was never away."""
        async with node_on(redis_url) as two:
            reader = await two.hear(org_id)
            async with node_on(redis_url, grace=2.0) as one:
                await one.join(org_id, "c1", "ann")
                await one.join(org_id, "c2", "bob")
            await two.join(org_id, "c3", "ann")
            await eventually(lambda: reader.subjects == {"ann"}, what="bob has left")
            assert "ann" not in reader.told("left")

    async def test_redis_that_has_forgotten_is_told_again(self, redis_url: str, org_id: UUID):
        """Everything of it is registered with the next beat, and nobody is told that somebody has left."""
        async with node_on(redis_url) as one, node_on(redis_url) as two:
            reader = await two.hear(org_id)
            await one.join(org_id, "c1", "ann")
            await eventually(lambda: reader.subjects == {"ann"})
            redis = connect_redis(redis_url)
            keys = [key async for key in redis.scan_iter(f"presence:{{{org_id}}}:*")]
            await redis.delete(*keys)
            await redis.aclose()
            one.presence.leave(org_id, CHAT, "nobody")
            await eventually(lambda: one.presence.counts.lost_leases == 1)
            await one.join(org_id, "c2", "bob")
            await eventually(lambda: reader.subjects == {"ann", "bob"})
            assert reader.told("left") == []

    async def test_part_that_redis_has_lost_is_registered_again(self, redis_url: str, org_id: UUID, clock: ManualClock):
        """The node counts now and then what is registered: who is not, would stay for ever if it died."""
        async with node_on(redis_url, clock=clock) as one, aclosing(connect_redis(redis_url)) as redis:
            one.presence.join(org_id, CHAT, "ann", "c1")

            async def indexes() -> list[bytes]:
                await clock.advance(1.0)
                return [key async for key in redis.scan_iter(f"presence:{{{org_id}}}:of:*")]

            index = await eventually(indexes)
            await redis.delete(*index)
            assert len(await eventually(indexes)) == 1

    async def test_who_was_read_already_does_not_join_again(self, redis_url: str, org_id: UUID):
        """Members are read while the room holds back what has changed; what it tells then goes on from what was read."""
        async with node_on(redis_url, tick_ms=500) as one, node_on(redis_url) as two, node_on(redis_url) as three:
            early = await three.hear(org_id)
            await one.join(org_id, "c1", "ann")
            await one.join(org_id, "c2", "bob")
            one.presence.leave(org_id, CHAT, "c1")
            await one.join(org_id, "c3", "eve")
            late = await two.hear(org_id)
            await one.join(org_id, "c4", "dan")
            await eventually(lambda: late.subjects == early.subjects == {"bob", "dan", "eve"})
            assert (early.told("joined"), early.told("left")) == (["ann", "bob", "eve", "dan"], ["ann"])
            # Who has this version from elsewhere may have ann.
            assert (late.told("joined"), late.told("left")) == (["dan"], ["ann"])

    async def test_who_has_the_version_from_elsewhere_is_told_what_a_new_feed_has_read(
        self, redis_url: str, org_id: UUID
    ):
        """It moves to a node that read the members at that version when they had changed already: nobody is swallowed."""
        async with node_on(redis_url, tick_ms=60_000) as one, node_on(redis_url) as two, node_on(redis_url) as three:
            early = await three.hear(org_id)
            await one.join(org_id, "c1", "ann")
            await eventually(lambda: early.subjects == {"ann"})
            await one.join(org_id, "c2", "bob")
            one.presence.leave(org_id, CHAT, "c1")
            await one.join(org_id, "c3", "eve")
            late = await two.hear(org_id)
            assert (late.version, late.subjects, early.subjects) == (early.version, {"bob", "eve"}, {"ann"})
            late.members = dict(early.members)
            await two.join(org_id, "c4", "dan")
            await eventually(lambda: early.subjects == {"bob", "dan", "eve"})
            await eventually(lambda: late.version == early.version)
            assert late.members == early.members


class TestGraces:
    """Time is the clock's."""

    async def test_lost_connection_stays_for_the_grace(self, redis_url: str, org_id: UUID, clock: ManualClock):
        """And no moment longer."""
        async with node_on(redis_url, grace=5.0, clock=clock) as one, node_on(redis_url) as two:
            reader = await two.hear(org_id)
            one.presence.join(org_id, CHAT, "ann", "c1")
            await eventually(lambda: reader.subjects == {"ann"})
            one.presence.leave(org_id, CHAT, "c1", may_return=True)
            await clock.advance(4.9)
            assert one.presence.counts.connections == 1
            await clock.advance(0.2)
            assert one.presence.counts.connections == 0

            async def has_left() -> bool:
                await clock.advance(0.1)
                return not reader.members

            await eventually(has_left)

    async def test_who_comes_back_takes_the_place_of_the_lost(self, redis_url: str, org_id: UUID):
        """Not even a count changes."""
        async with node_on(redis_url, grace=300.0) as one, node_on(redis_url) as two:
            reader = await two.hear(org_id)
            await one.join(org_id, "c1", "ann")
            await eventually(lambda: reader.subjects == {"ann"})
            one.presence.leave(org_id, CHAT, "c1", may_return=True)
            await one.join(org_id, "c2", "ann")
            await one.join(org_id, "c3", "bob")
            await eventually(lambda: reader.subjects == {"ann", "bob"})
            assert reader.told("updated") == []
            assert one.presence.counts.connections == 2


class TestFaults:
    """Redis and nodes die."""

    async def test_redis_restarted_empty_is_told_in_one_step(self, own_redis: OwnRedis, org_id: UUID):
        """Nobody is said to have left who is there; the epoch is another, and frames go on."""
        async with node_on(own_redis.url) as one, node_on(own_redis.url, settle=3.0) as two:
            reader = await two.hear(org_id)
            for number in range(20):
                await one.join(org_id, f"c{number}", f"p{number}")
            await eventually(lambda: len(reader.members) == 20)
            before = reader.epoch
            own_redis.restart(empty=True)
            one.presence.leave(org_id, CHAT, "c7")
            one.presence.join(org_id, CHAT, "new", "c99")
            expected = {*(f"p{number}" for number in range(20)), "new"} - {"p7"}
            await eventually(lambda: reader.subjects == expected)
            assert reader.epoch != before
            assert reader.told("left") == ["p7"]
            assert reader.gaps == 0

    async def test_redis_with_an_old_copy_has_nobody_who_has_left(self, own_redis: OwnRedis, org_id: UUID):
        """Nor does it lack who has come since, though it has as many as the node; who stays is not said to have left."""
        async with node_on(own_redis.url) as one, node_on(own_redis.url) as two:
            reader = await two.hear(org_id)
            await one.join(org_id, "c1", "ann")
            await one.join(org_id, "c2", "bob")
            await eventually(lambda: reader.subjects == {"ann", "bob"})
            own_redis.keep_copy()
            one.presence.leave(org_id, CHAT, "c1")
            await one.join(org_id, "c3", "eve")
            await eventually(lambda: reader.subjects == {"bob", "eve"})
            own_redis.restore_copy()

            async def is_true() -> bool:
                page = await two.presence.members(org_id, CHAT, limit=500)
                return {each.subject for each in page.members} == reader.subjects == {"bob", "eve"}

            await eventually(is_true, retry_on=(HubError,), what="who is there")
            assert "bob" not in reader.told("left")
            assert reader.gaps == 0

    async def test_late_answer_of_an_incarnation_that_was_given_up(self, own_redis: OwnRedis, org_id: UUID):
        """Who was registered under it alone is registered again: else he would be gone with its lease."""
        async with (
            node_on(own_redis.url, kind=LateStore) as one,
            aclosing(cast("Any", connect_redis(own_redis.url))) as redis,
        ):
            assert isinstance(one.store, LateStore)

            async def incarnation() -> bytes:
                record = await redis.hget(f"presence:{{{org_id}}}:connections:{CHAT}", "c1")
                return (record or b"").partition(b"\x1f")[0]

            with capture_logs() as logs:
                one.presence.join(org_id, CHAT, "ann", "c1")
                first = await eventually(incarnation)
                own_redis.keep_copy()
                own_redis.restore_copy()
                await eventually(lambda: [each for each in logs if each["event"] == "presence_registered_again"])
            one.store.allowed.set()

            async def is_anothers() -> bool:
                return await incarnation() not in (b"", first)

            await eventually(is_anothers, retry_on=FAILURES)

    async def test_connection_that_nobody_has_is_removed(self, redis_url: str, org_id: UUID):
        """Redis has one more than the node, which takes another incarnation: with the old one it goes."""
        async with node_on(redis_url) as one, node_on(redis_url) as two:
            reader = await two.hear(org_id)
            await one.join(org_id, "c1", "ann")
            await eventually(lambda: reader.subjects == {"ann"})
            redis: Any = connect_redis(redis_url)
            ((incarnation, _),) = await redis.zrange(f"presence:{{{org_id}}}:nodes", 0, -1, withscores=True)
            await redis.aclose()
            ghost = Presentation(text_of("ghost"), "2026-01-01T00:00:00.000000Z")

            async def is_told() -> bool:
                # Within a tick of what was told last it is told with what comes next.
                await two.store.apply([Changes(org_id, CHAT, incarnation.decode(), [("c9", ghost)])])
                return reader.subjects == {"ann", "ghost"}

            await eventually(is_told)
            await eventually(lambda: reader.subjects == {"ann"})
            assert reader.told("left") == ["ghost"]

    async def test_random_schedule_over_nodes_ends_in_the_truth(self, redis_url: str, org_id: UUID):
        """Joins, leaves and kills by chance: in the end every node that lives tells the same, and it is so."""
        seed = random.randrange(2**32)
        print(f"seed {seed}")
        rng = random.Random(seed)
        async with AsyncExitStack() as stack:
            nodes = [await stack.enter_async_context(node_on(redis_url)) for _ in range(4)]
            readers = [await node.hear(org_id) for node in nodes]
            there: dict[str, tuple[Node, str]] = {}
            for step in range(400):
                node = rng.choice(nodes)
                own = [connection for connection, (of, _) in there.items() if of is node]
                if own and rng.random() < 0.4:
                    connection = rng.choice(own)
                    del there[connection]
                    node.presence.leave(org_id, CHAT, connection)
                else:
                    there[f"c{step}"] = (node, f"p{rng.randrange(60)}")
                    node.presence.join(org_id, CHAT, there[f"c{step}"][1], f"c{step}")
                if step in (150, 300):
                    await nodes[0].kill()
                    gone = nodes.pop(0)
                    readers.pop(0)
                    there = {connection: (of, who) for connection, (of, who) in there.items() if of is not gone}
                if step % 10 == 0:
                    await asyncio.sleep(0)
            truth = Counter(subject for _, subject in there.values())
            for reader in readers:
                await eventually(lambda reader=reader: seen(reader) == truth, what="the truth")
                assert reader.gaps == 0
                assert reader.count == {"members": len(truth), "connections": truth.total()}
            page = await nodes[0].presence.members(org_id, CHAT, limit=500)
            assert {each.subject: each.connections for each in page.members} == truth


async def test_size_of_a_diff_does_not_depend_on_that_of_the_room(redis_url: str, org_id: UUID):
    """10,000 members: one who comes is told in as many bytes as in a room of ten, but for the digits of the count."""
    async with node_on(redis_url) as one, node_on(redis_url) as two:
        reader = await two.hear(org_id)

        async def one_comes(connection: str, subject: str) -> int:
            before = len(reader.diffs)
            await one.join(org_id, connection, subject)
            await eventually(lambda: subject in reader.members)
            (size,) = reader.sizes[before:]
            return size

        small = await one_comes("c", "someone-1")
        for start in range(0, 10_000, 1_000):
            for number in range(start, start + 1_000):
                one.presence.join(org_id, CHAT, f"p{number}", f"c{number}")
            await one.presence.joined(org_id, CHAT, f"c{start + 999}")
        await eventually(lambda: len(reader.members) == 10_001)
        assert max(reader.sizes) < 200 * 400
        large = await one_comes("d", "someone-2")
        assert large - small <= 8
        late = await two.presence.members(org_id, CHAT, limit=500)
        assert (len(late.members), late.count.members) == (500, 10_002)
        assert reader.gaps == 0


def seen(reader: Reader) -> Counter[str]:
    return Counter({subject: member["connections"] for subject, member in reader.members.items()})
