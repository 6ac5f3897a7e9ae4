"""What a view must and may show of a log, and the checker that holds readers' records against it."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.harness.checker import Checker, LiveBooks
from tests.harness.ledger import Logged
from tests.harness.stream_client import Bookmark
from tests.harness.views import ALARM, HALF, OF_RESOURCES, OF_ROOMS, PLAIN, Brought, View, due_of
from tests.harness.watcher import Told, Watcher

LARGE, _, BIRTHS, DELTAS, LARGE_DELTAS = OF_RESOURCES
(ALARMS,) = OF_ROOMS
ROOM = "chat:lobby"


def logged(position: int, what: str, value: int | None = None, *, of: str = "a") -> Logged:
    data: dict[str, Any] = {"id": of, "version": position}
    if value is not None:
        data |= {"name": "Nr. 2", "metadata": {"value": value}}
    event = {"id": f"e{position}", "type": f"agent.{what}", "subject": f"agents/{of}", "data": data}
    return Logged(position, f"e{position}", f"agents:{of}", event)


LOG = [
    logged(1, "created", HALF),
    logged(2, "created", 0, of="b"),
    logged(3, "updated", 1),
    logged(4, "updated", 2),
    logged(5, "updated", HALF, of="b"),
    logged(6, "deleted", of="b"),
    logged(7, "deleted"),
]


def recorded(view: View, events: Sequence[Told], channel: str, books: LiveBooks | None = None) -> Checker:
    """Check a reader with a view, which joined at 0, beside one who sees all."""
    start = Told("joined", channel, "k", 0, 1, asked=Bookmark())
    reader = Watcher([], "", [channel], views={channel: view}, record=[start, *events])
    checker = Checker({"k": LOG}, books or LiveBooks())
    checker.check([reader])
    return checker


def told(entry: Logged, *, left: bool = False) -> Told:
    event = dict(entry.event)
    if left:
        event["data"] = {name: entry.event["data"][name] for name in ("id", "version")}
    return Told("event", "agents", "k", entry.position, 1, event=event, left=left)


@pytest.mark.parametrize(
    ("view", "must", "may"),
    [
        (PLAIN, {1, 2, 3, 4, 5, 6, 7}, set[int]()),
        (DELTAS, {1, 2, 3, 4, 5, 6, 7}, set[int]()),
        # What stops to match is told once, and again only where the hub does not know better.
        (LARGE, {1, 3, 5, 6}, {4, 7}),
        (BIRTHS, {1, 2}, set[int]()),
    ],
)
def test_what_is_due(view: View, must: set[int], may: set[int]):
    """A filter of data tells the end of what matched; one of the envelope tells nothing but what matches."""
    due = due_of(view, LOG, "agents:*", after=0)
    assert (set(due.must), set(due.may)) == (must, may)
    assert {at for at, (_, left) in {**due.must, **due.may}.items() if left} == ({3, 4} if view is LARGE else set())


def test_due_depends_on_what_was_before_the_beginning():
    """Who joins later holds nothing, but the hub cannot know that."""
    assert set(due_of(LARGE, LOG, "agents", after=2, upto=5).must) == {3, 5}
    assert due_of(LARGE, LOG, "agents:b", after=0, upto=2).must == {}


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([told(LOG[0]), told(LOG[2], left=True), told(LOG[4]), told(LOG[5])], ""),
        ([told(LOG[0]), told(LOG[4]), told(LOG[5])], "1 of 4 events missed, such as [3]"),
        ([told(LOG[0]), told(LOG[1]), told(LOG[2], left=True), told(LOG[4]), told(LOG[5])], "no event of this channel"),
        ([told(LOG[0]), told(LOG[2]), told(LOG[4]), told(LOG[5])], "differs from the log"),
    ],
)
def test_record_of_a_filter(events: Sequence[Told], words: str):
    """Nothing is missing, nothing is told that does not match, and what has left is told as that."""
    checker = recorded(LARGE, events, "agents")
    assert checker.problems == [] if not words else any(words in each for each in checker.problems)
    filters = checker.totals.of("filters")
    assert (filters.readers, filters.received) == (1, len(events))
    assert filters.wrong == checker.totals.of("sockets").wrong == checker.totals.wrong


def test_record_of_a_room_with_a_filter():
    """What is known to be wanted must come; of what nobody knows nothing can be said."""
    books = LiveBooks(
        sent=dict.fromkeys(("m1", "m2", "m3"), ROOM),
        placed={(ROOM, "k", 1): "m1", (ROOM, "k", 2): "m2"},
        kinds={"m1": "talk", "m2": ALARM, "m3": ALARM},
    )

    def heard(offset: int, kind: str = ALARM) -> Told:
        return Told("event", ROOM, "k", offset, 1, event={"data": {"mark": f"m{offset}", "kind": kind}})

    assert recorded(ALARMS, [heard(2), heard(3)], ROOM, books).problems == []
    assert recorded(ALARMS, [heard(3)], ROOM, books).totals.lost == 1
    assert recorded(ALARMS, [heard(1, "talk"), heard(2)], ROOM, books).totals.foreign == 1


def test_wildcards_and_deltas_have_their_lines():
    """A channel counts for each of them."""
    start = Told("joined", "agents:*", "k", 7, 1, asked=Bookmark())
    checker = Checker({"k": LOG}, LiveBooks())
    checker.check([Watcher([], "", ["agents:*"], views={"agents:*": LARGE_DELTAS}, record=[start])])
    assert set(checker.totals.kinds) == {"sockets", "filters", "deltas", "wildcards"}


def test_patches_are_applied_to_what_was_brought():
    """Not to what an earlier connection brought, nor after it has gone."""
    brought = Brought()
    assert brought.whole(frame("created", {"load": 1})) == event("created", {"load": 1})
    patch = [{"op": "replace", "path": "/load", "value": 2}]
    assert brought.whole(frame("updated", patch=patch)) == event("updated", {"load": 2})
    brought.whole(frame("updated", {"id": "a"}, left=True))
    with pytest.raises(LookupError):
        brought.whole(frame("updated", patch=patch))
    brought.whole(frame("updated", {"load": 3}))
    brought.anew()
    with pytest.raises(LookupError):
        brought.whole(frame("updated", patch=patch))


def event(what: str, data: Mapping[str, Any] | None = None) -> dict[str, Any]:
    made: dict[str, Any] = {"id": "e", "type": f"agent.{what}", "subject": "agents/a"}
    return made if data is None else {**made, "data": data}


def frame(what: str, data: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"event": event(what, data), **more}
