"""The difference between what a twin shall be and what it is."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.resources.merge import merge_patch
from handlers.twins.state.difference import difference
from tests.handlers.house import House
from tests.handlers.twins.state.asking import asked

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.floats(0, 2) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=10,
)
_OBJECTS = st.dictionaries(st.text("ab", max_size=2), _VALUES, max_size=4)


@given(_OBJECTS, _OBJECTS)
def test_difference_is_the_patch_between_the_two(desired: dict[str, Any], reported: dict[str, Any]):
    """Applied to what is reported it gives what is desired, where null means that a member is not there."""
    patched = merge_patch(reported, difference(desired, reported))
    wanted = merge_patch({}, desired)
    assert patched == wanted
    assert difference(desired, patched) == {}


@pytest.mark.parametrize(
    ("desired", "reported", "expected"),
    [
        (None, {"a": 1}, {}),
        ({"a": 1}, None, {"a": 1}),
        ({"a": 1}, {"a": 1.0}, {}),
        ({"a": 1}, {"a": True}, {"a": 1}),
        ({"a": [1, {"b": False}]}, {"a": [1, {"b": 0}]}, {"a": [1, {"b": False}]}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}, "d": 4}, {"a": {"c": 2}, "d": None}),
        ({"a": {}}, {"a": 1}, {"a": {}}),
    ],
)
def test_values_are_compared_as_json_has_them(desired: Any, reported: Any, expected: Any):
    """1 is 1.0 and not true, also within arrays, which are replaced as a whole."""
    assert difference(desired, reported) == expected


async def test_twin_tells_whether_it_is_in_sync(house: House):
    """With the version that was looked at."""
    made = await house.create("twins", name="Pump", desired={"speed": 9}, reported={"speed": 7, "firmware": "2"})
    told = await asked(house, "difference", made.id)
    assert told == {
        "twin_id": str(made.id),
        "version": 1,
        "desired": {"speed": 9},
        "reported": {"speed": 7, "firmware": "2"},
        "difference": {"speed": 9, "firmware": None},
        "is_in_sync": False,
    }
    await house.run("twins.update", id=str(made.id), body={"reported": {"speed": 9, "firmware": None}})
    told = await asked(house, "difference", made.id)
    assert (told["version"], told["difference"], told["is_in_sync"]) == (2, {}, True)
