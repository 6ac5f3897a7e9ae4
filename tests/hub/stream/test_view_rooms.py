"""Views in the fan-out by itself: what is made once, in which order it goes out, and that nobody's place is lost."""

import json
import random
from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

import pytest
from websockets.frames import Frame
from websockets.streams import StreamReader

from core.errors import HubError
from core.events.event import Entry
from hub.stream.fanout import Fanout
from hub.stream.view_rooms import MOST_COHORTS, MOST_COST, Watches
from hub.stream.wires import JsonWire, MsgpackWire, Wire
from rooms.filters import Filter, parse_filter
from rooms.views import View
from tests.hub.stream.resources import Fold

ORG, TWIN = uuid4(), str(UUID(int=1))
JSON = JsonWire()
LONG = "x" * 300


def entry(position: int, **data: Any) -> Entry:
    event = {"id": str(position), "type": "twin.updated", "subject": f"twins/{TWIN}", "data": {"id": TWIN, **data}}
    return Entry(position, f"twins:{TWIN}", json.dumps(event, separators=(",", ":")))


def frames_of(data: bytes) -> list[Any]:
    """Return what stands in joined JSON frames."""
    reader, found = StreamReader(), []
    reader.feed_data(data)
    while reader.buffer:
        parsing = Frame.parse(reader.read_exact, mask=False)
        try:
            while True:
                next(parsing)
        except StopIteration as done:
            found.append(json.loads(done.value.data))
    return found


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
        """It stays as well."""

    @property
    def frames(self) -> list[Any]:
        return frames_of(b"".join(self.written))


def counting(asked: list[Mapping[str, Any]]) -> Filter:
    """Return a filter that lets pass what has a number, and notes what it was asked."""
    real = parse_filter({"n": {"$exists": True}})

    def matches(event: Mapping[str, Any]) -> bool:
        asked.append(event)
        return real.matches(event)

    return Filter(real.text, real.cost, real.is_of_state, matches)


def test_event_is_looked_at_once_for_all_members_and_forms():
    """And parsed once for all views."""
    asked: list[Mapping[str, Any]] = []
    fanout = Fanout()
    views = [View("twins", "twins", counting(asked)), View("twins:*", "twins", counting(asked), prefix="twins:")]
    members = [Recorder(wire) for wire in (JSON, MsgpackWire()) for _ in range(50)]
    for number, member in enumerate(members):
        fanout.join(ORG, "twins", member, views[number % 2])
    fanout.deliver(ORG, [entry(1, n=1)])
    assert len(asked) == 2
    assert asked[0] is asked[1]
    assert all(len(member.written) == 1 for member in members)
    assert len({id(member.written[0]) for member in members}) == 4


def test_what_is_shown_keeps_its_place_among_what_is_plain():
    """By position, over all rooms of a member."""
    fanout, member = Fanout(), Recorder()
    fanout.join(ORG, f"twins:{TWIN}", member)
    fanout.join(ORG, "twins", member, View("twins", "twins", parse_filter({"n": 2, "$source": {"$exists": False}})))
    fanout.deliver(ORG, [entry(1, n=1), entry(2, n=2), entry(3, n=3)])
    seen = [(frame["channel"], frame["offset"]) for frame in member.frames]
    assert seen == [(f"twins:{TWIN}", "1"), ("twins", "2"), (f"twins:{TWIN}", "2"), (f"twins:{TWIN}", "3")]


def test_room_is_gone_with_the_last_who_has_a_view_of_it():
    """Nothing is kept of a view that nobody has."""
    fanout, member, plain = Fanout(), Recorder(), Recorder()
    view = View("twins", "twins", delta=True)
    fanout.join(ORG, "twins", member, view)
    fanout.join(ORG, "twins", plain)
    assert fanout.size(ORG, "twins") == 2
    fanout.deliver(ORG, [entry(1, text=LONG, n=1)])
    fanout.leave(ORG, "twins", member, view)
    fanout.deliver(ORG, [entry(2, text=LONG, n=2)])
    fanout.leave(ORG, "twins", plain)
    assert fanout.channels(ORG, "") == []
    fanout.join(ORG, "twins", member, view, since=2)
    fanout.deliver(ORG, [entry(3, text=LONG, n=3)])
    assert ["patch" in frame for frame in member.frames] == [False, False]


def test_leaving_a_view_that_one_does_not_have_is_nothing():
    fanout, member = Fanout(), Recorder()
    fanout.join(ORG, "twins", member)
    fanout.leave(ORG, "twins", member, View("twins", "twins", delta=True))
    fanout.deliver(ORG, [entry(1)])
    assert len(member.frames) == 1


def test_costs_are_given_back():
    """However often views come and go."""
    watches = Watches()
    views = [View("twins", "twins", parse_filter({"n": number}), delta=True) for number in range(MOST_COST)]
    for _ in range(3):
        held: list[View] = []
        with pytest.raises(HubError) as refused:
            for view in views:
                watches.hold(ORG, view)
                held.append(view)
        assert refused.value.code == "TOO_MANY_FILTERS"
        watches.hold(uuid4(), views[-1])
        watches.hold(ORG, held[0])
        for view in (*held, held[0]):
            watches.drop(ORG, view)


@pytest.mark.parametrize("round", range(20))
def test_cohorts_become_one_while_slices_wait(round: int):
    """Members that come and go beside a backlog: each gets every event from its own on, once, and can apply each patch."""
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    fanout, view = Fanout(rng.choice((1, 2, 5))), View("twins", "twins", delta=True)
    members: dict[Recorder, int] = {}
    gone: list[tuple[Recorder, int, int]] = []
    position = 0
    for _ in range(150):
        match rng.randrange(5):
            case 0:
                members[Recorder()] = position
                fanout.join(ORG, "twins", list(members)[-1], view, position)
            case 1 if len(members) > MOST_COHORTS + 2:
                member = rng.choice(list(members))
                fanout.leave(ORG, "twins", member, view)
                gone.append((member, members.pop(member), position))
            case 2:
                fanout.turn()
            case _:
                position += 1
                fanout.deliver(ORG, [entry(position, text=LONG, n=position)])
    while fanout.turn():
        pass
    patched = 0
    for member, since, upto in [*gone, *((member, since, position) for member, since in members.items())]:
        fold = Fold()
        fold.anew()
        for frame in member.frames:
            fold.take(frame)
        assert fold.positions == list(range(since + 1, upto + 1)), f"seed {seed}"
        if upto > since:
            assert fold.states == {TWIN: {"id": TWIN, "text": LONG, "n": upto}}, f"seed {seed}"
        patched += fold.patched
    assert patched
