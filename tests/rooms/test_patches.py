"""Patches: applied by another's hand, they make what they were made for."""

import json
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rooms.patches import patch_between

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2) | st.text("ab/~", max_size=2),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab/~", max_size=2), inner, max_size=4),
    max_leaves=20,
)


def as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


@given(VALUES, VALUES)
def test_patch_makes_the_later_of_the_earlier(before: Any, after: Any):
    """By the library that others use, to the letter of the JSON; but for the sign of nothing, which no number has."""
    made = jsonpatch.apply_patch(before, patch_between(before, after))
    assert as_json(made).replace("-0.0", "0.0") == as_json(after).replace("-0.0", "0.0")


@given(VALUES)
def test_nothing_changed_is_no_operation(value: Any):
    assert patch_between(value, json.loads(json.dumps(value))) == []


@pytest.mark.parametrize(
    ("before", "after", "patch"),
    [
        ({"a": 1}, {"a": True}, [{"op": "replace", "path": "/a", "value": True}]),
        ({"a": 1}, {"a": 1.0}, [{"op": "replace", "path": "/a", "value": 1.0}]),
        (
            {"a/b": 1, "c~": 1},
            {"c~": 2},
            [{"op": "remove", "path": "/a~1b"}, {"op": "replace", "path": "/c~0", "value": 2}],
        ),
        ({"a": [1, 2]}, {"a": [1, 3]}, [{"op": "replace", "path": "/a/1", "value": 3}]),
        ({"a": [1, 2]}, {"a": [2]}, [{"op": "replace", "path": "/a", "value": [2]}]),
        ({}, {"": {}}, [{"op": "add", "path": "/", "value": {}}]),
        ([1], {}, [{"op": "replace", "path": "", "value": {}}]),
    ],
)
def test_patch_is_the_plain_one(before: Any, after: Any, patch: Any):
    assert patch_between(before, after) == patch


def test_what_is_very_deep_is_replaced():
    """As deep as JSON may be here; the way down is bounded."""

    def nested(value: Any) -> Any:
        for _ in range(250):
            value = {"a": value}
        return value

    (operation,) = patch_between(nested(1), nested(2))
    assert operation["path"].count("/") == 64
    assert jsonpatch.apply_patch(nested(1), [operation]) == nested(2)
