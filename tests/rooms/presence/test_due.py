"""Whose rooms are sent next."""

from hypothesis import given
from hypothesis import strategies as st

from rooms.presence.due import Due


def test_organisations_come_in_turn():
    """However many rooms one of them has."""
    due = Due[str, str]()
    for room in "abcdef":
        due.add("much", room)
    due.add("little", "x")
    due.add("much", "a")
    assert due.next(4) == ["a", "x", "b", "c"]
    due.drop("much", "a")
    assert due.next(100) == ["b", "x", "c", "d", "e", "f"]


def test_who_rests_is_passed_over_and_forgets_nothing():
    """What comes meanwhile goes with what was left."""
    due = Due[str, str]()
    due.add("much", "a")
    due.rest(["much"])
    due.add("much", "b")
    assert not due
    due.add("little", "x")
    assert due.next(10) == ["x"]
    due.wake(["much"])
    assert due.next(10) == ["x", "a", "b"]
    due.rest(["much"])
    for room in "ab":
        due.drop("much", room)
    due.wake(["much"])
    assert due.next(10) == ["x"]


_STEPS = st.tuples(st.sampled_from(("add", "drop", "rest", "wake")), st.sampled_from("pq"), st.integers(0, 3))


@given(st.lists(_STEPS, max_size=40))
def test_what_is_due_is_what_was_added_and_not_dropped(steps: list[tuple[str, str, int]]):
    """Nothing is lost or doubled by rests; who has nothing due is no turn."""
    due, wanted, resting = Due[str, int](), dict[str, dict[int, None]](), set[str]()
    for what, org, room in steps:
        rooms = wanted.setdefault(org, {})
        match what:
            case "add":
                due.add(org, room)
                rooms[room] = None
            case "drop":
                due.drop(org, room)
                rooms.pop(room, None)
            case "rest":
                due.rest([org])
                resting.add(org)
            case _:
                due.wake([org])
                resting.discard(org)
        going = {each: list(rooms) for each, rooms in wanted.items() if rooms and each not in resting}
        assert bool(due) is bool(going)
        assert len(due.next(100)) == sum(map(len, going.values()))
    due.wake("pq")
    assert sorted(due.next(100)) == sorted(room for rooms in wanted.values() for room in rooms)
