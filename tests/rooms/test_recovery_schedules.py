"""Recovery under any schedule of joining, publishing and faults: everything after the start, once each, in order."""

import asyncio
import random

import pytest

from rooms import recovery
from rooms.pages import SharedLog
from rooms.recovery import (
    Bookmark,
)
from tests.harness.waiting import eventually
from tests.rooms.joining import Member, Members, join
from tests.rooms.model import Node
from tests.rooms.schedule import Schedule


async def test_any_schedule_of_joining_and_publishing(monkeypatch: pytest.MonkeyPatch):
    """200 schedules: every member sees the log after its start, once each, in order; seed printed."""
    monkeypatch.setattr(recovery, "PAGE", 3)
    joined = recovered = 0
    for number in range(200):
        seed = random.randrange(2**32)
        try:
            for member in await run_schedule(random.Random(seed)):
                joined += 1
                recovered += bool(member.pages)
        except BaseException:
            print(f"schedule {number}, seed {seed}")
            raise
    assert recovered > joined / 10, "the schedules try what they are for"


async def run_schedule(rng: random.Random) -> list[Member]:
    schedule = Schedule(rng, restores=rng.random() < 0.3)
    node = schedule.node
    members = Members()
    node.use(members)
    shared = SharedLog(node.log, node.clock)
    node.publish(node.commit(rng.randrange(30)))
    await schedule.started()
    joining: list[asyncio.Task[None]] = []
    for _ in range(rng.randrange(5, 60)):
        await schedule.step()
        if rng.random() < 0.3:
            joining.append(
                asyncio.ensure_future(join(node, members, Member(bookmarks(rng, node)), shared.of(node.feed)))
            )
    node.feed.check()
    await node.settled()
    for task in joining:
        await eventually(lambda done=task.done: moved_on(node, done()), every=0)
        task.result()
    for member in members.all:
        assert member.live
        assert member.frames == member.expected(node.log.entries)
    return members.all


async def moved_on(node: Node, done: bool) -> bool:
    if not done:
        await node.clock.advance(0.3)
    return done


def bookmarks(rng: random.Random, node: Node) -> dict[str, Bookmark]:
    """Bookmarks of some channels: none, behind, ahead of the feed, above the log, of another epoch."""
    channels = rng.sample(["agents", "agents:0", "agents:1", "agents:2", "twins"], rng.randrange(1, 5))
    made: dict[str, Bookmark] = {}
    for channel in channels:
        offset = rng.choice([None, rng.randrange(node.log.top + 1), node.log.top, node.log.top + 5])
        made[channel] = Bookmark(offset, rng.choice([None, node.log.epoch, node.log.epoch, "e0"]))
    return made
