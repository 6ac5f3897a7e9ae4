"""The newest of each key for members who are slow, without sockets: a member can read or not, as the test says."""

import re

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.stream.counts import StreamCounts
from hub.stream.latest import KEYS_AT_ONCE, Latest
from hub.stream.newest import MOST_KEYS
from hub.stream.room import Member, Room
from hub.stream.wires import JsonWire
from rooms.live_wire import LiveEntry
from rooms.namespace_rules import new_rules, ruled

CHANNEL = "twins:01978f3e-5a70-7c3d-9b42-6f0d2c1e8a55/telemetry"


class Reader:
    """A member whose way out is free or not."""

    def __init__(self) -> None:
        self.outbound = self
        self.wire = JsonWire()
        self.org_id = None
        self.is_free = True
        self.values: dict[str, int] = {}
        self.offsets: list[int] = []

    def write_if_free(self, data: bytes) -> bool:
        if self.is_free:
            frame = orjson.loads(data[data.index(b"{") :])
            self.offsets.append(int(frame["offset"]))
            self.values |= frame["event"]["data"]["metrics"]
        return self.is_free

    def write(self, data: bytes) -> bool:
        raise AssertionError(data)

    def cut_slow(self) -> None:
        raise AssertionError("it is never cut")

    def on_room_reset(self, channel: str, epoch: str, offset: int, reason: str) -> None:
        raise AssertionError

    def on_new_epoch(self, epoch: str, position: int, reason: str) -> None:
        raise AssertionError


def entry(offset: int, values: dict[str, int]) -> LiveEntry:
    envelope = orjson.dumps({"id": str(offset), "type": "twin.telemetry", "data": {"metrics": values}}).decode()
    return LiveEntry(offset, CHANNEL, envelope, offset, "")


def room_of(*members: Member) -> Room:
    room = Room(CHANNEL, JsonWire())
    room.members.update(dict.fromkeys(members))
    return room


@pytest.fixture
def latest() -> Latest:
    return Latest(StreamCounts(), 100)


def test_who_reads_gets_each_event_and_who_is_slow_the_newest_of_each_key(latest: Latest):
    quick, slow = Reader(), Reader()
    room = room_of(quick, slow)
    slow.is_free = False
    for offset in range(1, 101):
        latest.deliver(room, JsonWire(), [entry(offset, {f"m{offset % 3}": offset})])
    assert quick.offsets == list(range(1, 101))
    assert slow.offsets == []
    latest.turn()
    assert latest.waits.is_set()
    slow.is_free = True
    latest.turn()
    assert slow.values == {"m0": 99, "m1": 100, "m2": 98}
    assert slow.offsets == [100]
    assert not latest.waits.is_set()


def test_much_that_waits_comes_in_parts_whose_offsets_leave_nothing_out(latest: Latest):
    slow = Reader()
    room = room_of(slow)
    slow.is_free = False
    for offset in range(1, 1001):
        latest.deliver(room, JsonWire(), [entry(offset, {f"m{offset}": offset})])
    slow.is_free = True
    while latest.waits.is_set():
        before = len(slow.offsets)
        latest.turn()
        assert len(slow.offsets) == before + 1
        assert len(slow.values) == slow.offsets[-1]
    assert len(slow.offsets) == 1000 // KEYS_AT_ONCE
    assert len(slow.values) == 1000


def test_many_members_are_written_to_by_turns():
    latest = Latest(StreamCounts(), 10)
    members = [Reader() for _ in range(35)]
    room = room_of(*members)
    latest.deliver(room, JsonWire(), [entry(1, {"a": 1})])
    assert sum(bool(each.offsets) for each in members) == 10
    while latest.waits.is_set():
        latest.turn()
    assert all(each.offsets == [1] for each in members)


def test_who_leaves_and_a_room_that_is_reset_wait_no_more(latest: Latest):
    for leaves in (True, False):
        slow = Reader()
        room = room_of(slow)
        slow.is_free = False
        latest.deliver(room, JsonWire(), [entry(1, {"a": 1})])
        assert latest.waits.is_set()
        if leaves:
            latest.forget(room, slow)
        else:
            latest.drop(room)
        assert not latest.waits.is_set()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.sampled_from("abcd"), st.integers(1, 3)),
        st.tuples(st.just("free"), st.integers(0, 2), st.booleans()),
        st.tuples(st.just("turn"), st.none(), st.none()),
    ),
    max_size=60,
)


@given(STEPS)
def test_whoever_can_read_at_last_has_the_newest_of_all(steps: list[tuple[str, object, object]]):
    latest = Latest(StreamCounts(), 2)
    members = [Reader() for _ in range(3)]
    room = room_of(*members)
    newest: dict[str, int] = {}
    offset = 0
    for step, what, how in steps:
        if step == "say":
            assert isinstance(how, int)
            entries: list[LiveEntry] = []
            for _ in range(how):
                offset += 1
                newest[str(what)] = offset
                entries.append(entry(offset, {str(what): offset}))
            latest.deliver(room, JsonWire(), entries)
        elif step == "free":
            assert isinstance(what, int)
            members[what].is_free = bool(how)
        else:
            latest.turn()
    for member in members:
        member.is_free = True
    while latest.waits.is_set():
        latest.turn()
    for member in members:
        assert member.values == newest
        assert member.offsets == sorted(set(member.offsets))


class Listener(Reader):
    """A member that keeps whole frames, and may queue them."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[bytes] = []
        self.is_cut = False

    def write_if_free(self, data: bytes) -> bool:
        if self.is_free:
            self.frames.append(data)
        return self.is_free

    def write(self, data: bytes) -> bool:
        self.frames.append(data)
        return True

    def cut_slow(self) -> None:
        self.is_cut = True

    @property
    def numbers(self) -> list[int]:
        """The numbers that have come, in order."""
        return [int(each) for frame in self.frames for each in re.findall(rb'"number":(\d+)', frame)]


PRICES = ruled(new_rules("prices"), {"delivery": "latest", "key": "symbol"})


def price(offset: int, symbol: object) -> LiveEntry:
    data = {"number": offset} if symbol is None else {"symbol": symbol, "number": offset}
    envelope = orjson.dumps({"id": str(offset), "type": "prices.message", "data": data}).decode()
    return LiveEntry(offset, "prices:a", envelope, offset, "")


class TestKeysOfEvents:
    """Of namespaces of one's own: an event has one key, and is given as it was published."""

    def test_who_is_slow_gets_the_newest_event_of_each_key_in_order(self, latest: Latest):
        quick, slow = Listener(), Listener()
        room = room_of(quick, slow)
        slow.is_free = False
        for offset in range(1, 31):
            latest.deliver(room, JsonWire(), [price(offset, offset % 3)], PRICES)
        slow.is_free = True
        latest.turn()
        assert (quick.numbers, slow.numbers) == (list(range(1, 31)), [28, 29, 30])

    def test_data_without_the_key_have_one_together(self, latest: Latest):
        """Whatever clients publish: nothing of it is an error."""
        slow = Listener()
        room = room_of(slow)
        slow.is_free = False
        for offset, symbol in enumerate((None, None, {"a": 1}, {"a": 1}, True, 1, "1"), 1):
            latest.deliver(room, JsonWire(), [price(offset, symbol)], PRICES)
        latest.deliver(room, JsonWire(), [LiveEntry(8, "prices:a", '{"id":"8","data":[1]}', 8, "")], PRICES)
        slow.is_free = True
        latest.turn()
        assert slow.numbers == [4, 5, 6, 7]
        assert b'"offset":"8"' in slow.frames[-1]

    def test_who_lacks_what_is_kept_no_more_is_cut(self, latest: Latest):
        """Of too many keys: it comes back, and finds in the history what it has not had."""
        slow, late = Listener(), Listener()
        room = room_of(slow)
        slow.is_free = False
        for offset in range(1, MOST_KEYS + 2):
            latest.deliver(room, JsonWire(), [price(offset, offset)], PRICES)
        assert slow.is_cut
        latest.forget(room, slow)
        del room.members[slow]
        assert not late.is_cut
        assert not latest.waits.is_set()

    def test_what_waits_is_given_when_the_way_changes(self, latest: Latest):
        """Queued for who is slow, as every event from then on is."""
        slow = Listener()
        room = room_of(slow)
        slow.is_free = False
        for offset in range(1, 11):
            latest.deliver(room, JsonWire(), [price(offset, offset % 2)], PRICES)
        assert latest.settle(room) == []
        assert slow.numbers == [9, 10]
        assert not latest.waits.is_set()
