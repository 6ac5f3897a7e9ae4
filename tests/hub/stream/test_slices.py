"""Fan-out in slices: what is written when, and that nobody can tell but by the clock. Real frames; turns are counted, not timed."""

import asyncio
import itertools
import random
from collections import defaultdict
from uuid import UUID, uuid4

import pytest

from core.events.event import Entry
from hub.stream import backlog
from hub.stream.fanout import Fanout, channels_of
from hub.stream.wires import JsonWire, MsgpackWire, Wire
from tests.hub.stream.peers import JSON

ORG, OTHER = uuid4(), uuid4()
MSGPACK = MsgpackWire()
Seen = tuple[str, str]  # what was told: a channel, or the kind of a frame, and an offset


def entry(position: int, channel: str = "agents", size: int = 0) -> Entry:
    return Entry(position, channel, f'{{"id":"{"x" * size}"}}')


class Writer:
    """A member that keeps what it is written."""

    def __init__(self, org_id: UUID = ORG, wire: Wire = JSON) -> None:
        self.outbound = self
        self.wire = wire
        self.org_id = org_id
        self.written: list[bytes] = []
        self.is_slow = False
        self.cuts = 0

    def write_if_free(self, data: bytes) -> bool:
        return self.write(data)

    def write(self, data: bytes) -> bool:
        self.written.append(data)
        return not self.is_slow

    def cut_slow(self) -> None:
        self.cuts += 1

    def on_room_reset(self, channel: str, epoch: str, offset: int, reason: str) -> None:
        """It stays in the room."""

    def on_new_epoch(self, epoch: str, position: int, reason: str) -> None:
        raise AssertionError("no new epoch")

    @property
    def seen(self) -> list[Seen]:
        return list(itertools.chain.from_iterable(frames_of(self.wire, data) for data in self.written))


def frames_of(wire: Wire, data: bytes) -> list[Seen]:
    """Read whole frames (RFC 6455, section 5.2), unmasked, of less than 64 KiB."""
    found: list[Seen] = []
    while data:
        head, length = (2, data[1]) if data[1] < 126 else (4, int.from_bytes(data[2:4]))
        payload, data = data[head : head + length], data[head + length :]
        frame = wire.read(payload.decode() if isinstance(wire, JsonWire) else payload)
        name = frame["channel"] if frame["type"] == "event" else frame["type"]
        found.append((name, frame["offset"]))
    return found


def crowd(fanout: Fanout, count: int, *channels: str, org_id: UUID = ORG) -> list[Writer]:
    """Let `count` members join `channels`."""
    members = [Writer(org_id) for _ in range(count)]
    for member in members:
        for channel in channels:
            fanout.join(org_id, channel, member)
    return members


def served(members: list[Writer]) -> int:
    return sum(bool(member.written) for member in members)


def test_what_fits_a_slice_is_written_at_once():
    """No turn is needed, whatever waits elsewhere."""
    fanout = Fanout(10)
    few, many = crowd(fanout, 10, "agents"), crowd(fanout, 11, "agents", org_id=OTHER)
    fanout.deliver(OTHER, [entry(1)])
    assert served(many) == 0
    fanout.deliver(ORG, [entry(1)])
    assert served(few) == 10


def test_large_room_is_written_a_slice_a_turn():
    """All get the same bytes, however many turns that takes."""
    fanout = Fanout(10)
    members = crowd(fanout, 25, "agents")
    fanout.deliver(ORG, [entry(1)])
    assert [(fanout.turn(), served(members)) for _ in range(3)] == [(True, 10), (True, 20), (False, 25)]
    assert len({id(member.written[0]) for member in members}) == 1
    assert fanout.counts.deliveries == 25


def test_what_comes_meanwhile_is_joined():
    """A busy large room gets cheaper: one write for all that was queued during a sweep."""
    fanout = Fanout(10)
    members = crowd(fanout, 20, "agents")
    for position in range(1, 9):
        fanout.deliver(ORG, [entry(position)])
        if position == 1:
            fanout.turn()
    while fanout.turn():
        pass
    everything = [("agents", str(n)) for n in range(1, 9)]
    assert [member.seen for member in members] == [everything] * 20
    assert {len(member.written) for member in members} == {2}


def test_organisations_take_turns():
    """A slice of one, a slice of the other."""
    fanout = Fanout(10)
    ours, theirs = crowd(fanout, 30, "agents"), crowd(fanout, 20, "agents", org_id=OTHER)
    fanout.deliver(ORG, [entry(1)])
    fanout.deliver(OTHER, [entry(1)])
    progress: list[tuple[int, int]] = []
    while fanout.turn():
        progress.append((served(ours), served(theirs)))
    assert progress == [(10, 0), (10, 10), (20, 10), (20, 20)]
    assert served(ours) == 30


def test_small_room_does_not_wait_for_a_large_one_of_its_organisation():
    """Whether it comes later, or in the same read; those of its members who are in both get all in order."""
    fanout = Fanout(10)
    large = crowd(fanout, 50, "agents")
    small, both = crowd(fanout, 3, "twins"), crowd(fanout, 2, "agents", "twins")
    fanout.deliver(ORG, [entry(1)])
    fanout.deliver(ORG, [entry(2, "twins")])
    assert [member.seen for member in small] == [[("twins", "2")]] * 3
    assert [member.seen for member in both] == [[("agents", "1"), ("twins", "2")]] * 2
    fanout.deliver(ORG, [entry(3), entry(4, "twins"), entry(5)])
    assert [member.seen[1:] for member in small] == [[("twins", "4")]] * 3
    assert [member.seen[2:] for member in both] == [[("agents", "3"), ("twins", "4"), ("agents", "5")]] * 2
    assert served(large) == 0
    while fanout.turn():
        pass
    assert {tuple(member.seen) for member in large} == {(("agents", "1"), ("agents", "3"), ("agents", "5"))}
    assert fanout.counts.deliveries == 50 * 3 + 3 * 2 + 2 * 5


async def test_room_of_two_is_served_between_slices_of_fifty_thousand():
    """Its delivery, due in a turn of the loop, never finds more than one slice written since the turn before."""
    fanout = Fanout()
    large, small = crowd(fanout, 50_000, "agents"), crowd(fanout, 2, "agents", org_id=OTHER)
    task = asyncio.create_task(fanout.run())
    fanout.deliver(ORG, [entry(1)])
    progress, position = [0], 0
    while progress[-1] < 50_000:
        await asyncio.sleep(0)
        position += 1
        fanout.deliver(OTHER, [entry(position)])
        assert [len(member.written) for member in small] == [position] * 2
        progress.append(served(large))
    task.cancel()
    steps = [after - before for before, after in itertools.pairwise(progress)]
    assert max(steps) == 1000
    assert 50 <= len(steps) <= 55


def test_large_messages_make_smaller_slices():
    """A slice is as long as it takes, not as many as it serves; one member at least is served."""
    fanout = Fanout(10)
    members = crowd(fanout, 12, "agents")
    fanout.deliver(ORG, [entry(1, size=4 * backlog.BYTES_OF_A_WRITE)])
    fanout.turn()
    assert served(members) == 2
    fanout = Fanout(10)
    members = crowd(fanout, 12, "agents")
    fanout.deliver(ORG, [entry(n, size=4 * backlog.BYTES_OF_A_WRITE) for n in range(1, 20)])
    fanout.turn()
    assert served(members) == 1


def test_slow_reader_found_in_a_slice_is_cut():
    """The others get everything."""
    fanout = Fanout(2)
    members = crowd(fanout, 6, "agents")
    members[3].is_slow = True
    fanout.deliver(ORG, [entry(1)])
    while fanout.turn():
        pass
    assert [member.cuts for member in members] == [0, 0, 0, 1, 0, 0]
    assert served(members) == 6


@pytest.mark.parametrize("wire", [JSON, MSGPACK])
async def test_too_much_that_waits_is_told_until_a_sweep_takes_it(wire: Wire):
    """Who delivers hears it, and when there is room again."""
    fanout = Fanout(1)
    members = [Writer(wire=wire) for _ in range(3)]
    for member in members:
        fanout.join(ORG, "agents", member)
    size = 32 * 1024
    fitting = backlog.QUEUE_BYTES // size  # the first begins a sweep
    told = [fanout.deliver(ORG, [entry(position, size=size)]) for position in range(fitting)]
    full = fanout.deliver(ORG, [entry(98, size=size)])
    assert not any(told)
    assert full is not None
    assert fanout.deliver(ORG, [entry(99)]) is full
    for _ in members:
        assert not full.done()
        fanout.turn()
    fanout.turn()
    assert full.done()
    assert fanout.deliver(ORG, [entry(100)]) is None


class Client(Writer):
    """A member of the random schedules, with what it must have been told by now."""

    def __init__(self, fanout: Fanout, org_id: UUID, wire: Wire) -> None:
        super().__init__(org_id, wire)
        self.told: list[Seen] = []
        self.rooms: set[str] = set()
        self.is_gone = False
        self._fanout = fanout

    def cut_slow(self) -> None:
        super().cut_slow()
        self.go()

    def go(self) -> None:
        """Leave everything, as a connection that ends."""
        self.is_gone = True
        for room in tuple(self.rooms):
            self.leave(room)
        self._fanout.exit(self.org_id, self)

    def join(self, room: str) -> None:
        self._fanout.join(self.org_id, room, self)
        self.rooms.add(room)

    def leave(self, room: str) -> None:
        self.rooms.discard(room)
        self._fanout.leave(self.org_id, room, self)

    def say(self, kind: str, offset: int) -> None:
        self.told.append((kind, str(offset)))
        self._fanout.say(self, self.wire.reply(kind, None, offset=str(offset)))

    def on_room_reset(self, channel: str, epoch: str, offset: int, reason: str) -> None:
        """It stays in the room."""

    def on_new_epoch(self, epoch: str, position: int, reason: str) -> None:
        self.say("reset", position)

    def check(self) -> None:
        """Every word so far was said, each once, in order; one that was cut may lack the end."""
        seen = self.seen
        assert seen == (self.told[: len(seen)] if self.cuts else self.told)


class Schedule:
    """Members, deliveries and turns by chance, beside a model that knows no slices: a delivery is told at once."""

    ROOMS = ("agents", "agents:1", "agents:2", "twins", "chat:lobby")

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.fanout = Fanout(self.rng.choice((1, 1, 2, 3, 7)))
        self.clients: list[Client] = []
        self.positions: dict[UUID, int] = defaultdict(int)
        self.happens = (self.comes, self.joins, self.leaves, self.speaks, self.goes, self.is_slow, self.resets)

    def run(self, steps: int) -> None:
        for _ in range(self.rng.randrange(1, 8)):
            self.comes()
        for _ in range(steps):
            what = self.rng.random()
            if what < 0.3:
                self.deliver(self.rng.choice((ORG, ORG, OTHER)))
            elif what < 0.6:
                self.fanout.turn()
            else:
                self.rng.choices(self.happens, (3, 10, 6, 6, 1, 1, 2))[0]()
        while self.fanout.turn():
            pass
        for client in self.clients:
            client.check()
        assert self.fanout.counts.deliveries == sum(
            name in self.ROOMS for client in self.clients for name, _ in client.seen
        )

    def deliver(self, org_id: UUID) -> None:
        entries: list[Entry] = []
        for _ in range(self.rng.choice((1, 1, 2, 5))):
            self.positions[org_id] += 1
            entries.append(entry(self.positions[org_id], self.rng.choice(self.ROOMS)))
        for client in self.present(org_id):
            rooms = [(room, each) for each in entries for room in channels_of(each) if room in client.rooms]
            client.told += [(room, str(each.position)) for room, each in rooms]
        self.fanout.deliver(org_id, entries)

    def present(self, org_id: UUID) -> list[Client]:
        return [each for each in self.clients if each.org_id == org_id and not each.is_gone]

    def some(self) -> Client | None:
        present = [each for each in self.clients if not each.is_gone]
        return self.rng.choice(present) if present else None

    def comes(self) -> None:
        client = Client(self.fanout, self.rng.choice((ORG, ORG, OTHER)), self.rng.choice((JSON, MSGPACK)))
        self.clients.append(client)
        self.fanout.enter(client.org_id, client)
        for room in self.rng.sample(self.ROOMS, self.rng.randrange(4)):
            client.join(room)

    def joins(self) -> None:
        """A member has caught up to here: what is delivered from now on is for it, and nothing that waits."""
        if (client := self.some()) is not None:
            client.join(self.rng.choice(self.ROOMS))
            self.is_exact(client)

    def leaves(self) -> None:
        if (client := self.some()) is not None and client.rooms:
            room = self.rng.choice(sorted(client.rooms))
            client.leave(room)
            self.is_exact(client)
            if self.rng.random() < 0.5:
                client.join(room)

    def speaks(self) -> None:
        """A bookmark: everything up to it stands before it."""
        if (client := self.some()) is not None:
            client.say("position", self.positions[client.org_id])
            self.is_exact(client)

    def goes(self) -> None:
        if (client := self.some()) is not None:
            client.go()
            self.is_exact(client)

    def is_slow(self) -> None:
        if (client := self.some()) is not None:
            client.is_slow = True

    def resets(self) -> None:
        org_id = self.rng.choice((ORG, OTHER))
        self.positions[org_id] += 1
        if self.rng.random() < 0.5:
            self.fanout.reset(org_id, "k4", self.positions[org_id], "epoch")
            return
        for client in self.present(org_id):
            if "chat:lobby" in client.rooms:
                client.told.append(("reset", str(self.positions[org_id])))
        self.fanout.reset_room(org_id, "chat:lobby", "k4", self.positions[org_id], "epoch")

    def is_exact(self, client: Client) -> None:
        if not client.is_slow:
            assert client.seen == client.told


@pytest.mark.parametrize("first", range(0, 1000, 100))
def test_any_schedule_tells_each_member_everything_once_and_in_order(first: int):
    """Joins, leaves, rejoins, cuts, ends, bookmarks, resets and turns between slices; the seed is in the failure."""
    for seed in range(first, first + 100):
        try:
            Schedule(seed).run(80)
        except AssertionError as error:
            error.add_note(f"seed {seed}")
            raise
