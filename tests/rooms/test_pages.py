"""Reads of the log that many share: the same entries as without sharing, with few reads."""

import asyncio
import random
from collections.abc import Collection
from uuid import UUID

import pytest

from core.errors import HubError
from core.events.event import Entry
from rooms import pages
from rooms.pages import SharedLog
from rooms.recovery import Bookmark
from tests.rooms.joining import Member, Members, grown, join
from tests.rooms.model import ORG, Node


async def read(shared: SharedLog, node: Node, channels: Collection[str], after: int, upto: int) -> list[int]:
    """Read as recovery does, to the end; return the positions."""
    log, found = shared.of(node.feed), list[Entry]()
    at = after
    while at < upto:
        page = await log.read(ORG, channels, after=at, upto=upto, limit=256)
        found += page
        at = page[-1].position if len(page) == 256 else upto
    return [entry.position for entry in found]


@pytest.fixture
async def node() -> Node:
    """A feed of 5,000 events, of which the ring holds four."""
    made = Node(ring=4)
    await grown(made, 5_000)
    return made


class TestThunder:
    """Many who come back at once."""

    async def test_two_thousand_to_one_room_cost_a_few_reads(self, node: Node):
        """With offsets near each other; each gets what it would have got alone."""
        rng = random.Random(5)
        shared = SharedLog(node.log, node.clock)
        members = Members()
        all_ = [Member({"agents": Bookmark(4_000 + rng.randrange(200))}) for _ in range(2_000)]
        await asyncio.gather(*(join(node, members, member, shared.of(node.feed)) for member in all_))
        for member in all_:
            assert member.frames == member.expected(node.log.entries)
        # 1,000 entries in segments of 256, from at most three places.
        assert shared.reads <= 12

    async def test_same_offset_a_moment_later_costs_nothing(self, node: Node):
        shared = SharedLog(node.log, node.clock)
        await read(shared, node, ["agents"], 4_500, 5_000)
        before = shared.reads
        assert await read(shared, node, ["agents"], 4_500, 5_000) == list(range(4_501, 5_001))
        assert shared.reads == before

    async def test_sparse_channel_is_read_once(self, node: Node):
        """Whoever comes later is after the place where that read began."""
        shared = SharedLog(node.log, node.clock)
        for after in range(100, 3_000, 7):
            assert await read(shared, node, ["twins"], after, 5_000) == []
        assert shared.reads == 1

    async def test_one_who_leaves_does_not_end_the_read_of_the_others(self, node: Node):
        shared = SharedLog(node.log, node.clock)
        first = asyncio.ensure_future(read(shared, node, ["agents"], 4_900, 5_000))
        second = asyncio.ensure_future(read(shared, node, ["agents"], 4_900, 5_000))
        await asyncio.sleep(0)
        first.cancel()
        assert len(await second) == 100
        assert shared.reads <= 2

    async def test_postgres_away_is_told_to_all_and_not_kept(self, node: Node):
        shared = SharedLog(node.log, node.clock)
        node.chance.failures = 1.0
        asked = [asyncio.ensure_future(read(shared, node, ["agents"], 4_900, 5_000)) for _ in range(5)]
        for each in asked:
            with pytest.raises(HubError):
                await each
        node.chance.failures = 0.0
        assert len(await read(shared, node, ["agents"], 4_900, 5_000)) == 100


class TestWhatIsShared:
    """The same channels of the same life of the log."""

    async def test_any_place_and_channels_give_what_the_log_gives(self, node: Node):
        """Against reading without sharing, 300 times."""
        rng = random.Random(7)
        shared = SharedLog(node.log, node.clock)
        for _ in range(300):
            channels = rng.sample(["agents", "agents:0", "agents:1", "twins"], rng.randrange(1, 4))
            upto = rng.randrange(1, 5_001)
            after = rng.randrange(upto)
            plain = await node.log.read(ORG, channels, after=after, upto=upto, limit=10_000)
            assert await read(shared, node, channels, after, upto) == [entry.position for entry in plain]

    async def test_new_life_reads_anew(self, node: Node):
        """Nothing of the old log is given for the new one."""
        shared = SharedLog(node.log, node.clock)
        await read(shared, node, ["agents"], 0, 200)
        node.log.epoch = "e2"
        node.log.entries = [Entry(at, "agents:9", "new") for at in range(1, 5_001)]
        node.feed.check()
        await node.settled()
        page = await shared.of(node.feed).read(ORG, ["agents"], after=0, upto=200, limit=256)
        assert {entry.envelope for entry in page} == {"new"}

    async def test_read_that_starts_after_the_life_has_changed_is_not_kept_for_the_new_one(self, node: Node):
        """It was asked for with the end of the old log: what is missing up to there is not missing in the new one."""
        shared = SharedLog(node.log, node.clock)
        asked = shared.of(node.feed).read(ORG, ["agents"], after=0, upto=5_000, limit=256)
        node.log.epoch = "e2"
        del node.log.entries[100:]
        node.feed.check()
        await node.settled()
        await asked
        node.feed.receive(node.publish(node.commit(400)))
        await node.settled()
        assert await read(shared, node, ["agents"], 0, 500) == list(range(1, 501))

    async def test_what_is_old_is_forgotten(self, node: Node):
        """Memory of a storm that is over."""
        shared = SharedLog(node.log, node.clock)
        await read(shared, node, ["agents"], 0, 200)
        await node.clock.advance(pages.KEEP_SECONDS + 1)
        before = shared.reads
        await read(shared, node, ["agents"], 0, 200)
        assert shared.reads > before

    async def test_what_is_kept_is_bounded(self):
        """By the size of the envelopes, whatever is asked for."""

        class Large:
            """A log of large entries."""

            async def head(self, org_id: UUID):
                raise AssertionError("nobody asks")

            async def read(
                self, org_id: UUID, channels: Collection[str], *, after: int, upto: int, limit: int
            ) -> list[Entry]:
                return [Entry(at, "agents:1", large) for at in range(after + 1, min(upto, after + limit) + 1)]

        large = "x" * 32_768
        node = Node(ring=4)
        await grown(node, 1)
        shared = SharedLog(Large(), node.clock)
        await read(shared, node, ["agents"], 0, 4_000)
        assert shared.kept_size <= pages.MAX_SIZE
