"""The feed of one organisation: in order, no gap, no double, whatever is lost on the way."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from core.events.event import Entry
from rooms.wire import encode
from tests.rooms.model import Node
from tests.rooms.schedule import Schedule


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    made = Node()
    yield made
    made.feed.close()


def dense(first: int, last: int) -> list[int]:
    return list(range(first, last + 1))


async def test_messages_in_order_go_straight_through(node: Node):
    """One call for what one read brings; no task, nothing awaited."""
    await node.feed.start()
    node.feed.receive(node.publish(node.commit(3)))
    node.feed.receive(node.publish(node.commit(2)))
    assert [len(call) for call in node.sink.calls] == [3, 2]
    assert node.sink.positions == dense(1, 5)
    assert node.feed.last == 5
    assert not node.tasks


async def test_feed_begins_at_the_head(node: Node):
    """What stands in the log already is not handed over, also when its messages come late."""
    late = node.publish(node.commit(5))
    await node.feed.start()
    assert node.feed.last == 5
    node.feed.receive(late)
    assert not node.sink.calls
    node.feed.receive(node.publish(node.commit(1)))
    assert node.sink.positions == [6]


async def test_ring_begins_with_the_tail(node: Node):
    """A node that has just started can bring up to date whoever comes back, without PostgreSQL."""
    entries = node.commit(10)
    node.publish(entries)
    await node.feed.start()
    assert node.feed.ring_since(4) == entries[4:]


async def test_messages_before_the_head_is_known_are_not_lost(node: Node):
    """Subscribed, but not started: what is published meanwhile comes from the log."""
    starting = asyncio.ensure_future(node.feed.start())
    for _ in range(20):
        node.feed.receive(node.publish(node.commit(1)))
        await asyncio.sleep(0)
    await starting
    began_at = node.log.top - len(node.sink.positions)
    await node.settled()
    assert node.sink.positions == dense(20 - len(node.sink.positions) + 1, 20)
    assert began_at >= 0


async def test_double_messages_are_dropped(node: Node):
    await node.feed.start()
    messages = node.publish(node.commit(4))
    node.feed.receive(messages + messages[1:3])
    node.feed.receive(messages)
    assert node.sink.positions == dense(1, 4)
    assert not node.tasks


@pytest.mark.parametrize("flushed", [False, True])
async def test_gap_is_filled_before_what_follows(node: Node, flushed: bool):
    """From the tail; from PostgreSQL when the tail was lost."""
    await node.feed.start()
    messages = node.publish(node.commit(8))
    if flushed:
        node.tail.flush()
    node.feed.receive(messages[:2])
    node.feed.receive(messages[6:])
    assert node.sink.positions == [1, 2], "what is above the gap waits"
    await node.settled()
    assert node.sink.positions == dense(1, 8)
    assert len(node.tasks) == 1


async def test_one_fill_at_a_time(node: Node):
    """However many gaps there are, one task mends them."""
    await node.feed.start()
    messages = node.publish(node.commit(30))
    node.tail.flush()
    for index in (3, 7, 8, 15, 22):
        node.feed.receive([messages[index]])
        await asyncio.sleep(0)
    node.feed.check()
    assert len(node.tasks) == 1
    await node.settled()
    assert node.sink.positions == dense(1, 30)


async def test_missing_messages_that_arrive_during_the_fill_are_not_doubled(node: Node):
    """Redis came back empty and the relay publishes again what the fill is just reading."""
    await node.feed.start()
    entries = node.commit(6)
    messages = node.publish(entries)
    node.feed.receive(messages[:1] + messages[4:])
    node.tail.flush()
    for message in node.publish(entries):
        node.feed.receive([message])
        await asyncio.sleep(0)
    await node.settled()
    assert node.sink.positions == dense(1, 6)


async def test_log_with_a_hole_is_not_handed_over(node: Node):
    """A page that is not dense stops the feed rather than leaving an entry out in silence."""
    await node.feed.start()
    entries = node.commit(3)
    messages = node.publish(entries)
    node.tail.flush()
    node.log.hidden = {1}
    node.feed.receive(messages[2:])
    await node.clock.advance(5.0)
    assert not node.sink.positions
    node.log.hidden.clear()
    await node.settled()
    assert node.sink.since_reset == entries


async def test_fill_waits_for_engines_that_are_away(node: Node):
    """A fill that fails is tried again until it succeeds; what comes meanwhile is held."""
    await node.feed.start()
    messages = node.publish(node.commit(5))
    node.tail.flush()
    node.chance.failures = 1.0
    node.feed.receive(messages[3:])
    for _ in range(5):
        await node.clock.advance(1.0)
        node.feed.receive(node.publish(node.commit(1)))
    assert node.sink.positions == []
    node.chance.failures = 0.0
    await node.settled()
    assert node.sink.positions == dense(1, 10)


async def test_held_messages_are_bounded():
    """Beyond the bound they are dropped, and come again from the log."""
    node = Node(held=10)
    await node.feed.start()
    messages = node.publish(node.commit(100))
    node.tail.flush()
    node.chance.failures = 1.0
    for message in messages[1:]:
        node.feed.receive([message])
        assert node.feed.held <= 10
    node.chance.failures = 0.0
    await node.settled()
    assert node.sink.positions == dense(1, 100)


async def test_full_sink_is_waited_for():
    """What comes meanwhile is held, and beyond the bounds dropped and read again; nobody waits for it but this feed."""
    node = Node(held=5)
    await node.feed.start()
    node.sink.full_next = True
    node.feed.receive(node.publish(node.commit(2)))
    for _ in range(8):
        node.feed.receive(node.publish(node.commit(1)))
        assert node.feed.held <= 5
    await node.clock.advance(1.0)
    assert node.sink.positions == [1, 2]
    node.sink.make_room()
    await node.settled()
    assert node.sink.positions == dense(1, 10)
    node.feed.receive(node.publish(node.commit(1)))
    assert node.sink.positions == dense(1, 11), "straight through again"
    node.feed.close()


async def test_check_finds_what_no_message_told(node: Node):
    """Redis lost the messages and nothing follows them: the check reads the head."""
    await node.feed.start()
    node.publish(node.commit(7))
    node.feed.check()
    await node.settled()
    assert node.sink.positions == dense(1, 7)


async def test_check_does_not_hold_up_what_is_in_order(node: Node):
    """While the head is read, messages that go on from the last go straight through."""
    await node.feed.start()
    node.chance.failures = 1.0
    node.feed.check()
    node.feed.receive(node.publish(node.commit(2)))
    assert node.sink.positions == [1, 2]
    node.chance.failures = 0.0
    await node.settled()
    assert node.sink.positions == [1, 2]


async def test_unreadable_message_is_read_from_the_log(node: Node):
    """A later release may publish another form: the entry comes all the same."""
    await node.feed.start()
    first, second = node.publish(node.commit(2))
    node.feed.receive([first, b"2\x1fwho knows"])
    await node.settled()
    assert node.sink.positions == [1, 2]
    node.feed.receive([second])
    assert node.sink.positions == [1, 2]


async def test_new_epoch_resets(node: Node):
    """The sink is told once where to go on; then the new epoch's entries come."""
    await node.feed.start()
    node.feed.receive(node.publish(node.commit(9)))
    life = node.feed.life
    del node.log.entries[6:]
    node.log.epoch = "e2"
    node.feed.receive(node.publish(node.commit(2)))
    await node.settled()
    assert node.sink.resets == [("e2", 8, "epoch")]
    assert (node.feed.epoch, node.feed.last, node.feed.life) == ("e2", 8, life + 1)
    assert node.feed.ring_since(7) is None
    node.feed.receive(node.publish(node.commit(2)))
    assert node.sink.positions == [9, 10]


async def test_message_of_an_old_epoch_changes_nothing(node: Node):
    """A relay that was stopped before the epoch changed speaks late: the log says that the epoch is still ours."""
    await node.feed.start()
    node.feed.receive(node.publish(node.commit(2)))
    node.feed.receive([encode("e0", Entry(77, "agents", "old"))])
    node.feed.receive(node.publish(node.commit(1)))
    await node.settled()
    assert node.sink.positions == [1, 2, 3]
    assert not node.sink.resets


async def test_log_that_lost_its_end_resets(node: Node):
    """A head below what was published, in the same epoch: nothing is dropped as a double in silence."""
    await node.feed.start()
    node.feed.receive(node.publish(node.commit(9)))
    del node.log.entries[6:]
    node.feed.check()
    await node.settled()
    assert node.sink.resets == [("e1", 6, "offset")]
    node.tail.flush()
    node.feed.receive(node.publish(node.commit(1)))
    assert node.sink.positions == [7]


async def test_gap_that_the_log_lost_resets(node: Node):
    """What was published cannot be read any more: the feed does not wait for it for ever."""
    await node.feed.start()
    messages = node.publish(node.commit(9))
    del node.log.entries[4:]
    node.tail.flush()
    node.feed.receive(messages[8:])
    await node.settled()
    assert node.sink.resets == [("e1", 4, "offset")]


async def test_reached_returns_when_the_position_is_handed_over(node: Node):
    await node.feed.start()
    waiting = [asyncio.ensure_future(node.feed.reached(position, life=1)) for position in (1, 2, 3)]
    await asyncio.sleep(0)
    node.feed.receive(node.publish(node.commit(2)))
    await waiting[0]
    await waiting[1]
    assert not waiting[2].done()
    await node.feed.reached(2, life=1)
    node.log.epoch = "e2"
    node.feed.check()
    await node.settled()
    await waiting[2]
    # Who begins to wait only now has missed the reset, and must not wait for a position of the old life.
    await node.feed.reached(99, life=1)


async def test_any_schedule_of_loss_delay_and_doubles():
    """300 schedules: every position once, in order, with the log's own content; seed printed."""
    for number in range(300):
        seed = random.randrange(2**32)
        try:
            await run_schedule(random.Random(seed))
        except BaseException:
            print(f"schedule {number}, seed {seed}")
            raise


async def run_schedule(rng: random.Random) -> None:
    schedule = Schedule(rng)
    node = schedule.node
    node.publish(node.commit(rng.randrange(5)))
    began_at = await schedule.started()
    for _ in range(rng.randrange(5, 40)):
        await schedule.step()
    node.feed.check()  # as when the connection is made again
    await node.settled()
    if node.sink.resets:
        epoch, began_at, _ = node.sink.resets[-1]
        assert epoch == node.log.epoch
    assert node.sink.since_reset == node.log.entries[began_at:]
    assert node.feed.epoch == node.log.epoch
    latest = node.sink.since_reset[max(0, len(node.sink.since_reset) - node.bounds.ring_entries) :]
    assert node.feed.ring_since(node.feed.last - len(latest)) == latest
