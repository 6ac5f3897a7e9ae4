"""Telling diffs to sockets: one frame for each form, in slices, later under pressure, and nobody who reads slowly holds others."""

import asyncio
from uuid import UUID, uuid4

import pytest

from core.deadline import end_tasks
from core.pressure import Part
from hub.stream.fanout import Fanout
from hub.stream.presence_listeners import PresenceListeners
from hub.stream.wires import MsgpackWire
from rooms.presence.wire import Diff
from tests.harness.clock import ManualClock
from tests.harness.waiting import eventually
from tests.hub.stream.peers import peers

CHAT = "chat:a"
BODY = '"joined":[],"left":[{"subject":"ann"}],"updated":[],"count":{"members":0,"connections":0}'


@pytest.fixture
def org_id() -> UUID:
    return uuid4()


def diff(number: int) -> Diff:
    return Diff(number, CHAT, BODY, "e", number - 1)


class Pressing:
    """Gives presence up while it is told to."""

    is_high = True

    def gives_up(self, part: Part) -> bool:
        return self.is_high and part is Part.PRESENCE

    def check(self, part: Part) -> None:
        raise NotImplementedError


async def test_diff_reaches_everybody_in_the_own_form(clock: ManualClock, org_id: UUID):
    """Whole, with its place."""
    listeners = PresenceListeners(Fanout())
    async with peers(clock, 2) as plain, peers(clock, 1, wire=MsgpackWire()) as packed:
        for peer in (*plain, *packed):
            listeners.add(org_id, CHAT, peer)
        assert listeners.tell(org_id, CHAT, [diff(7), diff(8)]) is None
        for peer in plain:
            frames = await peer.has(2)
            assert [(frame["after"], frame["version"], frame["epoch"]) for frame in frames] == [
                ("6", "7", "e"),
                ("7", "8", "e"),
            ]
            assert frames[0]["left"] == [{"subject": "ann"}]
        await packed[0].has(2)
        listeners.remove(org_id, CHAT, plain[0])
        listeners.tell(org_id, CHAT, [diff(9)])
        await plain[1].has(3)
        plain[0].read_some()
        assert len(plain[0].frames) == 2


async def test_large_room_is_told_in_slices_and_who_leaves_hears_no_more(clock: ManualClock, org_id: UUID):
    """The feed waits until all are told."""
    listeners = PresenceListeners(Fanout(), most=2)
    async with peers(clock, 5) as members:
        for peer in members:
            listeners.add(org_id, CHAT, peer)
        done = listeners.tell(org_id, CHAT, [diff(1)])
        assert done is not None
        listeners.remove(org_id, CHAT, members[4])
        running = asyncio.create_task(listeners.run())
        await done
        for peer in members[:4]:
            await peer.has(1)
        members[4].read_some()
        assert not members[4].frames
        await end_tasks([running])


async def test_under_pressure_diffs_wait(clock: ManualClock, org_id: UUID):
    """And come when it has eased."""
    pressure = Pressing()
    listeners = PresenceListeners(Fanout(), pressure=pressure, clock=clock)
    running = asyncio.create_task(listeners.run())
    async with peers(clock, 1) as (peer,):
        listeners.add(org_id, CHAT, peer)
        done = listeners.tell(org_id, CHAT, [diff(1)])
        assert done is not None
        await clock.advance(1.0)
        peer.read_some()
        assert not peer.frames
        pressure.is_high = False
        await clock.advance(1.0)
        await eventually(done.done)
        await peer.has(1)
    await end_tasks([running])


async def test_slow_reader_is_cut_and_others_are_told(clock: ManualClock, org_id: UUID):
    """What waits for one is bounded."""
    listeners = PresenceListeners(Fanout())
    async with peers(clock, 2, max_bytes=1_000) as (slow, quick):
        for peer in (slow, quick):
            listeners.add(org_id, CHAT, peer)
        slow.on_cut = lambda: listeners.remove(org_id, CHAT, slow)
        slow.fill()
        for number in range(1, 30):
            listeners.tell(org_id, CHAT, [diff(number)])
        assert slow.is_cut
        await quick.has(29)
