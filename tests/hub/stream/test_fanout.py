"""Fan-out over real sockets: who gets what, in which order, with how many writes."""

from typing import Any
from uuid import uuid4

import pytest

from core.events.event import Entry
from hub.stream.fanout import Fanout
from hub.stream.wires import MsgpackWire, Wire
from tests.harness.clock import ManualClock
from tests.hub.stream.peers import JSON, peers

ORG = uuid4()
ONE, TWO = str(uuid4()), str(uuid4())


def entry(position: int, channel: str = f"agents:{ONE}") -> Entry:
    return Entry(position, channel, f'{{"id":"{position}"}}')


def seen(frames: list[Any]) -> list[tuple[str, int]]:
    return [(frame["channel"], int(frame["offset"])) for frame in frames]


@pytest.fixture
def fanout() -> Fanout:
    return Fanout()


async def test_entry_goes_to_the_room_of_its_kind_and_to_its_own(fanout: Fanout, clock: ManualClock):
    """A member of both gets one frame for each."""
    async with peers(clock, 3) as [kind, own, both]:
        for channel, members in (("agents", [kind, both]), (f"agents:{ONE}", [own, both])):
            for member in members:
                fanout.join(ORG, channel, member)
        fanout.deliver(ORG, [entry(1)])
        assert seen(await kind.has(1)) == [("agents", 1)]
        assert seen(await own.has(1)) == [(f"agents:{ONE}", 1)]
        assert seen(await both.has(2)) == [("agents", 1), (f"agents:{ONE}", 1)]


async def test_members_of_other_rooms_and_organisations_get_nothing(fanout: Fanout, clock: ManualClock):
    """Rooms belong to an organisation; names may be the same."""
    async with peers(clock, 3) as [member, elsewhere, stranger]:
        fanout.join(ORG, "agents", member)
        fanout.join(ORG, "twins", elsewhere)
        fanout.join(uuid4(), "agents", stranger)
        fanout.deliver(ORG, [entry(1), entry(2)])
        assert seen(await member.has(2)) == [("agents", 1), ("agents", 2)]
        for other in (elsewhere, stranger):
            other.read_some()
            assert not other.frames


class Recorder:
    """A member whose way out keeps what is written."""

    def __init__(self, wire: Wire = JSON) -> None:
        self.outbound = self
        self.wire = wire
        self.org_id = ORG
        self.written: list[bytes] = []

    def write_if_free(self, data: bytes) -> bool:
        return self.write(data)

    def write(self, data: bytes) -> bool:
        self.written.append(data)
        return True

    def cut_slow(self) -> None:
        raise AssertionError("it is not slow")

    def on_room_reset(self, channel: str, epoch: str, offset: int, reason: str) -> None:
        """It stays in the room."""

    def on_new_epoch(self, epoch: str, position: int, reason: str) -> None:
        raise AssertionError("no new epoch")


def test_one_write_for_each_member_and_read(fanout: Fanout):
    """What one read brought goes out joined, and every member of the room gets the very same bytes."""
    members = [Recorder() for _ in range(100)]
    for member in members:
        fanout.join(ORG, "agents", member)
    fanout.deliver(ORG, [entry(1), entry(2)])
    assert all(len(member.written) == 1 for member in members)
    assert len({id(member.written[0]) for member in members}) == 1


def test_members_of_the_same_rooms_share_what_is_joined(fanout: Fanout):
    """Several rooms are touched: one join for each combination of rooms, and still one write a member."""
    members = [Recorder() for _ in range(30)]
    for index, member in enumerate(members):
        for channel in ("agents", "twins", "knowledge")[: index % 3 + 1]:
            fanout.join(ORG, channel, member)
    fanout.deliver(ORG, [entry(1), entry(2, f"twins:{ONE}"), entry(3), entry(4, f"knowledge:{ONE}")])
    assert all(len(member.written) == 1 for member in members)
    assert len({id(member.written[0]) for member in members}) == 3


class CountingWire(MsgpackWire):
    """A form that counts what is made of it."""

    def __init__(self) -> None:
        super().__init__()
        self.envelopes = 0
        self.events = 0

    def envelope(self, entry: Entry) -> bytes:
        self.envelopes += 1
        return super().envelope(entry)

    def event(self, prefix: bytes, entry: Entry, envelope: bytes) -> bytes:
        self.events += 1
        return super().event(prefix, entry, envelope)


def test_each_form_is_made_once_and_only_where_somebody_wants_it(fanout: Fanout):
    """One envelope a message, one frame a message and channel, for any number of members."""
    wire = CountingWire()
    in_json, packed = [Recorder() for _ in range(5)], [Recorder(wire) for _ in range(5)]
    for member in in_json:
        fanout.join(ORG, "agents", member)
    fanout.deliver(ORG, [entry(1), entry(2)])
    assert wire.events == 0
    for member in packed:
        fanout.join(ORG, "agents", member)
        fanout.join(ORG, f"agents:{ONE}", member)
    fanout.deliver(ORG, [entry(3), entry(4)])
    assert (wire.envelopes, wire.events) == (2, 4)
    assert {len(member.written) for member in packed} == {1}
    assert {len(member.written) for member in in_json} == {2}
    for member in packed:
        fanout.leave(ORG, "agents", member)
        fanout.leave(ORG, f"agents:{ONE}", member)
    assert fanout.size(ORG, "agents") == 5
    fanout.deliver(ORG, [entry(5)])
    assert wire.events == 4


async def test_frames_of_several_rooms_keep_the_order_of_positions(fanout: Fanout, clock: ManualClock):
    """Whatever rooms a member is in, what it gets rises."""
    entries = [entry(1), entry(2, f"twins:{ONE}"), entry(3, f"agents:{TWO}"), entry(4, f"knowledge:{ONE}")]
    async with peers(clock, 2) as [all_rooms, one_room]:
        for channel in ("knowledge", "twins", "agents"):
            fanout.join(ORG, channel, all_rooms)
        fanout.join(ORG, "agents", one_room)
        fanout.deliver(ORG, entries)
        assert seen(await all_rooms.has(4)) == [("agents", 1), ("twins", 2), ("agents", 3), ("knowledge", 4)]
        assert seen(await one_room.has(2)) == [("agents", 1), ("agents", 3)]


async def test_slow_member_is_cut_and_the_others_get_everything(fanout: Fanout, clock: ManualClock):
    """It leaves its rooms while the delivery goes on; nobody else notices."""
    async with peers(clock, 3, max_bytes=-1) as [before, slow, after]:
        for member in (before, slow, after):
            fanout.join(ORG, "agents", member)
        slow.on_cut = lambda: fanout.leave(ORG, "agents", slow)
        slow.fill()
        fanout.deliver(ORG, [entry(1)])
        assert slow.is_cut
        assert fanout.size(ORG, "agents") == 2
        fanout.deliver(ORG, [entry(2)])
        for member in (before, after):
            assert seen(await member.has(2)) == [("agents", 1), ("agents", 2)]


async def test_dead_member_does_not_stop_the_others(fanout: Fanout, clock: ManualClock):
    """Its transport is closed, and its connection has not left yet."""
    async with peers(clock, 2) as [dead, alive]:
        for member in (dead, alive):
            fanout.join(ORG, "agents", member)
        dead.transport.abort()
        fanout.deliver(ORG, [entry(1)])
        assert seen(await alive.has(1)) == [("agents", 1)]


async def test_left_rooms_are_forgotten(fanout: Fanout, clock: ManualClock):
    """Leaving twice, or what was never joined, does not matter; nothing is kept of empty rooms."""
    async with peers(clock) as [member]:
        fanout.leave(ORG, "agents", member)
        fanout.join(ORG, "agents", member)
        fanout.join(ORG, "agents", member)
        assert fanout.size(ORG, "agents") == 1
        fanout.leave(ORG, "agents", member)
        fanout.leave(ORG, "agents", member)
        assert fanout.size(ORG, "agents") == 0
        fanout.deliver(ORG, [entry(1)])
        member.read_some()
        assert not member.frames


async def test_new_epoch_is_told_to_those_who_are_present(fanout: Fanout, clock: ManualClock):
    """Once each, in the organisation concerned only."""
    async with peers(clock, 3) as [present, gone, stranger]:
        fanout.enter(ORG, present)
        fanout.enter(ORG, gone)
        fanout.enter(uuid4(), stranger)
        fanout.exit(ORG, gone)
        fanout.reset(ORG, "k4", 17, "epoch")
        assert [peer.epochs for peer in (present, gone, stranger)] == [[("k4", 17, "epoch")], [], []]
