"""Comparing JSON values: patches that do what they say, and changes of two that meet."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.resources.json_patch import MOST_OPERATIONS, PatchOperation, patched
from handlers.resources.merge import merge_patch
from handlers.twins import comparing

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "~/"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "~1/"]), inner, max_size=3),
    max_leaves=12,
)
_OBJECTS = st.dictionaries(st.sampled_from(["a", "b", "~1/"]), _VALUES, max_size=3)


def _applied(before: Any, operations: list[dict[str, Any]]) -> Any:
    return patched(orjson.dumps(before).decode(), [PatchOperation.model_validate(each) for each in operations], ())


@given(_OBJECTS, _OBJECTS)
def test_json_patch_makes_one_of_the_other(before: dict[str, Any], after: dict[str, Any]):
    assert comparing.same(_applied(before, comparing.json_patch(before, after)), after)


@given(_OBJECTS, _OBJECTS)
def test_merge_patch_makes_one_of_the_other(before: dict[str, Any], after: dict[str, Any]):
    """Where there is one; a member that is null is its default, which is null too."""
    patch = comparing.merge_patch(before, after)
    if patch is not None:
        made = merge_patch(before, patch)
        assert comparing.same({name: made.get(name) for name in after} | made, after)


@given(_OBJECTS, _OBJECTS, _OBJECTS)
def test_two_changes_meet(base: dict[str, Any], ours: dict[str, Any], theirs: dict[str, Any]):
    """Who has changed nothing loses nothing; without a conflict it does not matter whose is which."""
    assert comparing.same(comparing.merged(base, ours, base), ours)
    assert comparing.same(comparing.merged(base, base, theirs), theirs)
    if not list(comparing.conflicts(base, ours, theirs)):
        assert comparing.same(comparing.merged(base, ours, theirs), comparing.merged(base, theirs, ours))


@pytest.mark.parametrize(("one", "other", "is_same"), [(1, 1.0, True), (1, True, False), ([0], [False], False)])
def test_truth_is_no_number(one: Any, other: Any, is_same: bool):
    assert comparing.same(one, other) is is_same


def test_patch_of_very_much_is_one_of_whole_members():
    """It is one that can be sent."""
    many = {str(number): number for number in range(MOST_OPERATIONS + 1)}
    before, after = {"data": {}, "kept": 1}, {"data": many, "kept": 1}
    assert comparing.json_patch(before, after) == [{"op": "add", "path": "/data", "value": many}]
