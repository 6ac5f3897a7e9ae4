"""What a returning subscriber gets: everything after its bookmark, once each, in order; or the reason why not."""

import asyncio
from collections.abc import AsyncIterator, Collection
from uuid import UUID

import pytest

from core.events.event import Entry, LogHead
from rooms import recovery
from rooms.recovery import (
    Bookmark,
    CatchUpStalled,
    LogRestarted,
    Missed,
    Start,
    catch_up,
    start_of,
    starts_of,
)
from tests.harness.waiting import eventually
from tests.rooms.joining import Member, Members, grown, join
from tests.rooms.model import Node

HEAD = LogHead("k3", 50)


@pytest.mark.parametrize(
    ("offset", "epoch", "start"),
    [
        (None, None, Start(50, recovered=False, reset=None)),
        (None, "k1", Start(50, recovered=False, reset=None)),
        (42, "k3", Start(42, recovered=True, reset=None)),
        (42, None, Start(42, recovered=True, reset=None)),
        (0, "k3", Start(0, recovered=True, reset=None)),
        (50, "k3", Start(50, recovered=True, reset=None)),
        (51, "k3", Start(50, recovered=False, reset="offset")),
        (51, None, Start(50, recovered=False, reset="offset")),
        (42, "k1", Start(50, recovered=False, reset="epoch")),
        (99, "k1", Start(50, recovered=False, reset="epoch")),
    ],
)
def test_start_of(offset: int | None, epoch: str | None, start: Start):
    """Epochs are compared first; without an epoch the current one is meant; above the head something was lost."""
    assert start_of(offset, epoch, HEAD) == start


class RestartingLog:
    """A node's log that becomes another one, once, while it is read, and the feed hears of it before the reader."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def head(self, org_id: UUID) -> LogHead:
        head = await self._node.log.head(org_id)
        await self._restart()
        return head

    async def read(self, org_id: UUID, channels: Collection[str], *, after: int, upto: int, limit: int) -> list[Entry]:
        entries = await self._node.log.read(org_id, channels, after=after, upto=upto, limit=limit)
        await self._restart()
        return entries

    async def _restart(self) -> None:
        self._node.log.epoch = "e2"
        self._node.feed.check()
        await self._node.settled()


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    made = Node(ring=4)
    yield made
    made.feed.close()


class TestStarts:
    """Where the channels of one subscribe start, on a node that may be behind another."""

    async def test_postgres_is_not_asked_below_the_feed(self, node: Node):
        await grown(node, 9)
        node.chance.failures = 1.0
        starts = await starts_of(node.feed, node.log, {"agents": Bookmark(3, "e1"), "twins": Bookmark()})
        assert starts.after == {"agents": 3, "twins": 9}
        assert (starts.epoch, starts.life) == ("e1", node.feed.life)

    @pytest.mark.parametrize("others", [{}, {"agents:1": Bookmark(5, "e1")}, {"twins": Bookmark(12)}])
    async def test_offset_from_a_node_that_is_ahead_is_no_reset(self, node: Node, others: dict[str, Bookmark]):
        """Committed, published, seen elsewhere; only this node's feed has it not yet."""
        members = Members()
        node.use(members)
        await grown(node, 9)
        ahead = node.publish(node.commit(3))
        member = Member({"agents": Bookmark(11, "e1")} | others)
        joining = asyncio.ensure_future(join(node, members, member))
        await node.clock.settle()
        assert not member.live, "the feed has not passed 11"
        node.feed.receive(ahead)
        await joining
        assert member.frames == member.expected(node.log.entries)

    async def test_new_life_while_postgres_is_asked_starts_over(self, node: Node):
        """No start is of an older life than the feed: it would never be reached, or skip what is new."""
        await grown(node, 9)
        node.publish(node.commit(3))
        starts = await starts_of(node.feed, RestartingLog(node), {"agents": Bookmark(12), "twins": Bookmark(12, "e1")})
        assert (starts.life, starts.epoch) == (node.feed.life, "e2")
        assert starts.channels["agents"] == Start(12, recovered=True, reset=None)
        assert starts.channels["twins"] == Start(12, recovered=False, reset="epoch")

    async def test_epoch_that_the_feed_has_not_heard_of_decides_nothing(self, node: Node):
        """The log is another one already, the feed will tell soon: its head is no measure for offsets of the old epoch."""
        await grown(node, 9)
        node.commit(30)
        node.log.epoch = "e2"
        starts = await starts_of(node.feed, node.log, {"agents": Bookmark(20, "e1")})
        assert starts.channels["agents"] == Start(9, recovered=False, reset="offset")

    async def test_offset_above_the_log_is_reset(self, node: Node):
        await grown(node, 9)
        node.publish(node.commit(3))
        starts = await starts_of(node.feed, node.log, {"agents": Bookmark(13, "e1"), "twins": Bookmark(12)})
        assert starts.channels["agents"] == Start(9, recovered=False, reset="offset")
        assert starts.channels["twins"] == Start(12, recovered=True, reset=None)

    async def test_other_epoch_is_reset_whatever_the_offset(self, node: Node):
        await grown(node, 9)
        starts = await starts_of(node.feed, node.log, {"agents": Bookmark(99, "e0")})
        assert starts.channels["agents"] == Start(9, recovered=False, reset="epoch")


class TestCatchUp:
    """Pages until inside the ring, then live in one turn."""

    async def test_large_rest_does_not_go_into_the_queue_at_once(self):
        """Also what the ring holds is awaited page by page; what go_live gets is small."""
        node = Node()
        await grown(node, 1_000)
        member = Member({"agents": Bookmark(0)})
        await join(node, Members(), member)
        assert member.frames == member.expected(node.log.entries)
        assert max(member.pages) <= recovery.PAGE
        assert sum(member.pages) >= 1_000 - recovery.PAGE

    async def test_page_is_bounded_by_size(self):
        node = Node()
        await node.feed.start()
        entries = [node.log.append("agents", "x" * 30_000) for _ in range(100)]
        node.feed.receive(node.publish(entries))
        member = Member({"agents": Bookmark(0)})
        await join(node, Members(), member)
        assert member.frames == member.expected(node.log.entries)
        assert max(member.pages) <= recovery.PAGE_SIZE // 30_000 + 1

    async def test_sparse_channel_passes_what_is_not_for_it(self, node: Node):
        """No frame for others' events, and the cursor goes on all the same."""
        await grown(node, 1_000)
        member = Member({"twins": Bookmark(0)})
        await join(node, Members(), member)
        assert member.live
        assert not member.frames

    async def test_never_reads_above_what_was_published(self, node: Node):
        """Committed but not published: that comes by the feed, and must not come twice."""
        members = Members()
        node.use(members)
        await grown(node, 20)
        unpublished = node.commit(5)
        member = Member({"agents": Bookmark(0)})
        await join(node, members, member)
        assert len(member.frames) == 20
        node.feed.receive(node.publish(unpublished))
        assert member.frames == member.expected(node.log.entries)

    async def test_postgres_away_is_waited_for(self, node: Node):
        await grown(node, 20)
        node.chance.failures = 1.0
        member = Member({"agents": Bookmark(0)})
        joining = asyncio.ensure_future(join(node, Members(), member))
        await node.clock.advance(10)
        assert not joining.done()
        node.chance.failures = 0.0
        await node.clock.advance(1)
        await joining
        assert member.frames == member.expected(node.log.entries)

    async def test_postgres_away_for_too_long_stalls(self, node: Node):
        await grown(node, 20)
        node.chance.failures = 1.0
        joining = asyncio.ensure_future(join(node, Members(), Member({"agents": Bookmark(0)})))
        await node.clock.advance(recovery.STALL_SECONDS + 1)
        with pytest.raises(CatchUpStalled):
            await joining

    async def test_socket_that_takes_nothing_stalls(self, node: Node):
        """A client that gets no nearer for 30 s is given up."""
        await grown(node, 20)
        starts = await starts_of(node.feed, node.log, {"agents": Bookmark(0)})
        for_ever = asyncio.Event()

        async def deliver(_: Missed) -> None:
            await for_ever.wait()

        stuck = asyncio.ensure_future(catch_up(node.feed, node.log, starts, deliver, lambda _: None, clock=node.clock))
        await node.clock.advance(recovery.STALL_SECONDS - 1)
        assert not stuck.done()
        await node.clock.advance(1.5)
        with pytest.raises(CatchUpStalled):
            await stuck

    async def test_socket_slower_than_the_log_grows_stalls(self, node: Node):
        """It takes page after page, but the head runs away."""
        await grown(node, 1_000)
        starts = await starts_of(node.feed, node.log, {"agents": Bookmark(0)})

        async def deliver(_: Missed) -> None:
            await node.clock.sleep(4)
            node.feed.receive(node.publish(node.commit(recovery.PAGE)))

        running_away = asyncio.ensure_future(
            catch_up(node.feed, node.log, starts, deliver, lambda _: None, clock=node.clock)
        )
        await node.clock.advance(60)
        with pytest.raises(CatchUpStalled):
            await running_away

    async def test_slow_socket_that_gets_nearer_is_kept(self, node: Node):
        """Twenty seconds a page: slow, but nearer each time."""
        await grown(node, 2_000)
        starts = await starts_of(node.feed, node.log, {"agents": Bookmark(0)})
        live: list[int] = []

        async def deliver(_: Missed) -> None:
            await node.clock.sleep(20)

        slow = asyncio.ensure_future(
            catch_up(node.feed, node.log, starts, deliver, lambda rest: live.append(len(rest)), clock=node.clock)
        )

        async def done() -> bool:
            await node.clock.advance(5)
            return slow.done()

        await eventually(done, every=0)
        await slow
        assert len(live) == 1

    async def test_new_life_while_a_page_is_read_ends_it(self, node: Node):
        """The page may be of either log: it is not delivered."""
        await grown(node, 20)
        starts = await starts_of(node.feed, node.log, {"agents": Bookmark(0)})
        delivered: list[Missed] = []

        async def deliver(missed: Missed) -> None:
            delivered.append(missed)

        with pytest.raises(LogRestarted):
            await catch_up(node.feed, RestartingLog(node), starts, deliver, delivered.append, clock=node.clock)
        assert not delivered

    async def test_new_life_ends_it(self, node: Node):
        """What was read is of a log that is no more."""
        await grown(node, 20)
        starts = await starts_of(node.feed, node.log, {"agents": Bookmark(0)})
        node.log.epoch = "e2"
        node.feed.check()
        await node.settled()

        async def deliver(_: Missed) -> None:
            raise AssertionError("delivered from the old life")

        with pytest.raises(LogRestarted):
            await catch_up(node.feed, node.log, starts, deliver, lambda _: None, clock=node.clock)
