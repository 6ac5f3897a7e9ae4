"""What a view shows of each event, and what it remembers for that."""

from typing import Any
from uuid import UUID

import orjson
import pytest

from core.events.event import Entry
from rooms.filters import parse_filter
from rooms.views import LEFT, MOST_BASES, MOST_OUT, WHOLE, Shown, Sight, View, Watch

ONE, TWO = str(UUID(int=1)), str(UUID(int=2))
LONG = "x" * 200


def entry(position: int, what: str = "updated", id: str = ONE, **data: Any) -> Entry:
    event = {"id": f"e{position}", "type": f"twin.{what}", "subject": f"twins/{id}", "data": {"id": id, **data}}
    return Entry(position, f"twins:{id}", orjson.dumps(event).decode())


def watch(wanted: Any = None, **options: Any) -> Watch:
    return Watch(View("twins", "twins", None if wanted is None else parse_filter(wanted), **options))


def looks(watch: Watch, *entries: Entry) -> list[Shown | None]:
    return [watch.look(Sight(each)) for each in entries]


class TestFilter:
    """Of resources: whoever holds one that matched hears when it does no more."""

    def test_what_matches_is_shown_and_what_never_did_is_not(self):
        asked = watch({"type": "a"})
        assert looks(asked, entry(1, "created", type="a"), entry(2, "created", TWO, type="b")) == [WHOLE, None]
        assert looks(asked, entry(3, type="a"), entry(4, id=TWO, type="b")) == [WHOLE, None]

    def test_what_matches_no_more_is_told_to_have_left_once(self):
        asked = watch({"type": "a"})
        seen = looks(asked, entry(1, "created", type="a"), entry(2, type="b"), entry(3, type="b"), entry(4, type="a"))
        assert seen == [WHOLE, LEFT, None, WHOLE]

    def test_of_what_is_not_known_it_is_told_too(self):
        """Somebody may hold it, who has read it elsewhere before."""
        assert looks(watch({"type": "a"}), entry(1, type="b"), entry(2, type="b")) == [LEFT, None]

    def test_what_is_gone_is_shown_unless_it_is_known_to_have_been_out(self):
        asked = watch({"type": "a"})
        assert looks(asked, entry(1, "deleted"), entry(2, "created", TWO, type="b")) == [WHOLE, None]
        assert looks(asked, entry(3, "deleted", TWO)) == [None]

    def test_what_is_too_large_to_travel_is_shown(self):
        """It says where all of it is; what it says cannot be judged."""
        asked = watch({"type": "a"})
        assert looks(asked, entry(1, "created", type="b"), entry(2, truncated=True, href="/")) == [None, WHOLE]
        assert looks(asked, entry(3, type="b")) == [LEFT]

    def test_what_left_is_told_by_id_and_version(self):
        event = orjson.loads(Sight(entry(1, version=7, type="b")).left())
        assert (event["id"], event["data"]) == ("e1", {"id": ONE, "version": 7})

    def test_filter_of_events_shows_those_that_match_and_nothing_else(self):
        """It names what events are: nobody holds an event."""
        asked = watch({"$type": "twin.deleted"})
        assert looks(asked, entry(1, type="a"), entry(2, "deleted")) == [None, WHOLE]

    def test_what_tells_no_state_is_judged_by_its_own_data(self):
        """As `twin.synchronised`, and what another resource tells in the same channel."""
        other = Entry(2, f"twins:{ONE}", orjson.dumps({"type": "twin.updated", "subject": "x/1", "data": {}}).decode())
        assert looks(watch({"type": "a"}), entry(1, "synchronised"), other) == [None, None]

    def test_memory_is_bounded(self):
        """What is forgotten is told once more."""
        asked = watch({"type": "a"})
        ids = [str(UUID(int=number)) for number in range(MOST_OUT + 1)]
        assert set(looks(asked, *(entry(n, "created", id, type="b") for n, id in enumerate(ids)))) == {None}
        assert looks(asked, entry(9_999, id=ids[-1], type="b"), entry(10_000, id=ids[0], type="b")) == [None, LEFT]


class TestDelta:
    """What changed, against what the view has shown before."""

    def test_second_state_is_told_by_what_changed(self):
        asked = watch(delta=True)
        first, second = looks(asked, entry(1, "created", text=LONG, n=1), entry(2, text=LONG, n=2))
        assert first is WHOLE
        assert second == Shown(base=1, patch='[{"op":"replace","path":"/n","value":2}]')

    def test_whole_is_shown_where_it_is_shorter(self):
        short = looks(watch(delta=True), entry(1, n=1), entry(2, n=2))
        many: dict[str, Any] = {f"m{number}": number for number in range(20)}
        changed = looks(
            watch(delta=True), entry(1, **many), entry(2, **{name: -1 - each for name, each in many.items()})
        )
        assert short == changed == [WHOLE, WHOLE]

    @pytest.mark.parametrize(
        "between", [entry(2, "deleted"), entry(2, truncated=True)], ids=["gone", "too large to travel"]
    )
    def test_what_has_no_state_ends_the_chain(self, between: Entry):
        assert looks(watch(delta=True), entry(1, text=LONG), between, entry(3, text=LONG)) == [WHOLE] * 3

    def test_what_left_ends_the_chain(self):
        seen = looks(watch({"n": 1}, delta=True), *(entry(at, text=LONG, n=n) for at, n in enumerate((1, 2, 1), 1)))
        assert seen == [WHOLE, LEFT, WHOLE]

    def test_others_between_do_not_end_it(self):
        others = entry(2, "synchronised"), entry(3, id=TWO, text=LONG)
        assert looks(watch(delta=True), entry(1, text=LONG), *others, entry(4, text=LONG, n=1))[-1] == Shown(
            base=1, patch='[{"op":"add","path":"/n","value":1}]'
        )

    def test_patch_is_made_once_for_all_views(self):
        """Of the same two states, whatever else the views ask."""
        one, other = watch(delta=True), watch({"n": {"$lt": 9}}, delta=True)
        looks(one, entry(1, text=LONG, n=1))
        looks(other, entry(1, text=LONG, n=1))
        sight = Sight(entry(2, text=LONG, n=2))
        first, second = one.look(sight), other.look(sight)
        assert first == second
        assert first is not None
        assert second is not None
        assert first.patch is second.patch

    def test_memory_is_bounded(self):
        asked = watch(delta=True)
        ids = [str(UUID(int=number)) for number in range(MOST_BASES + 1)]
        looks(asked, *(entry(n, "created", id, text=LONG) for n, id in enumerate(ids)))
        assert looks(asked, entry(5_000, id=ids[0], text=LONG)) == [WHOLE]
        assert looks(asked, entry(5_001, id=ids[-1], text=LONG)) != [WHOLE]


def test_wildcard_shows_the_channels_that_begin_so():
    """And of a restricted caller only its own."""
    asked = watch(prefix="twins:", only=frozenset({f"twins:{TWO}"}))
    assert looks(asked, entry(1), entry(2, id=TWO)) == [None, WHOLE]
