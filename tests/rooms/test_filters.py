"""Filters: what matches, what is refused and where, and that nothing can be made to cost much."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import HubError
from rooms.filters import MOST_NODES, parse_filter

EVENT = {
    "id": "e1",
    "type": "twin.updated",
    "source": "aimatrix",
    "subject": "twins/t1",
    "time": "2026-01-01T00:00:00.000000Z",
    "data": {
        "type": "logistics",
        "load": 10,
        "on": True,
        "gone": None,
        "tags": ["a"],
        "data": {"city": "Ulm", "x": {"y": 1.5}},
    },
}


def refusal(value: Any) -> tuple[str, str]:
    """Return the place and the code of what is wrong with a filter."""
    with pytest.raises(HubError) as refused:
        parse_filter(value)
    assert refused.value.code == "VALIDATION_ERROR"
    (detail,) = refused.value.details
    return detail.field, detail.code


@pytest.mark.parametrize(
    ("wanted", "is_match"),
    [
        ({"type": "logistics"}, True),
        ({"type": "Logistics"}, False),
        ({"$type": "twin.updated"}, True),
        ({"$subject": {"$prefix": "twins/"}, "type": {"$in": ["x", "logistics"]}}, True),
        ({"$time": {"$gte": "2026"}}, True),
        ({"load": 10.0}, True),
        ({"load": "10"}, False),
        ({"load": {"$gt": 9, "$lte": 10}}, True),
        ({"load": {"$gt": 10}}, False),
        ({"load": {"$lt": "9"}}, False),
        ({"on": True}, True),
        ({"on": 1}, False),
        ({"on": {"$gte": 1}}, False),
        ({"on": {"$in": [1, "true"]}}, False),
        ({"gone": None}, True),
        ({"nowhere": None}, False),
        ({"gone": {"$exists": True}}, True),
        ({"nowhere": {"$exists": False}}, True),
        ({"nowhere.deep.er": {"$exists": True}}, False),
        ({"type.x": "l"}, False),
        ({"data.city": "Ulm"}, True),
        ({"data.x.y": {"$in": [1.5]}}, True),
        ({"data.city": {"$not": "Ulm"}}, False),
        ({"nowhere": {"$not": "Ulm"}}, True),
        ({"data.city": {"$not": {"$prefix": "B"}}}, True),
        ({"tags": "a"}, False),
        ({"tags": {"$exists": True}}, True),
        ({"$not": {"type": "logistics"}}, False),
        ({"$or": [{"load": 1}, {"type": "logistics"}]}, True),
        ({"$and": [{"load": 10}, {"$or": [{"on": False}, {"load": {"$lt": 5}}]}]}, False),
    ],
    ids=json.dumps,
)
def test_filter_matches(wanted: Any, is_match: bool):
    """By JSON's own idea of what is equal: true is no 1, and what is missing is not null."""
    assert parse_filter(wanted).matches(EVENT) is is_match


@pytest.mark.parametrize("data", [None, [], "text", 7, {}], ids=json.dumps)
def test_data_of_any_kind_is_looked_into(data: Any):
    """An application's data need not be an object."""
    event = {**EVENT, "data": data}
    assert not parse_filter({"type": "logistics"}).matches(event)
    assert parse_filter({"type.a": {"$exists": False}}).matches(event)
    assert not parse_filter({"type": "logistics"}).matches({})


@pytest.mark.parametrize(
    ("wrong", "place", "code"),
    [
        ({}, "filter", "INVALID_FORMAT"),
        ([], "filter", "INVALID_FORMAT"),
        ("type", "filter", "INVALID_FORMAT"),
        ({"type": {}}, "filter.type", "INVALID_FORMAT"),
        ({"type": []}, "filter.type", "INVALID_FORMAT"),
        ({"type": {"name": 1}}, "filter.type", "INVALID_FORMAT"),
        ({"type": {"$regex": ".*"}}, "filter.type", "INVALID_FORMAT"),
        ({"$data": 1}, "filter.$data", "INVALID_FORMAT"),
        ({"": 1}, "filter.", "INVALID_FORMAT"),
        ({"a..b": 1}, "filter.a..b", "INVALID_FORMAT"),
        ({"a.b.c.d.e.f.g.h.i": 1}, "filter.a.b.c.d.e.f.g.h.i", "INVALID_FORMAT"),
        ({"x" * 65: 1}, f"filter.{'x' * 65}", "INVALID_FORMAT"),
        ({"$and": []}, "filter.$and", "INVALID_FORMAT"),
        ({"$and": [{"a": 1}, 7]}, "filter.$and[1]", "INVALID_FORMAT"),
        ({"$or": [{"a": {"$gt": None}}]}, "filter.$or[0].a.$gt", "INVALID_FORMAT"),
        ({"a": {"$gt": True}}, "filter.a.$gt", "INVALID_FORMAT"),
        ({"a": {"$in": []}}, "filter.a.$in", "INVALID_FORMAT"),
        ({"a": {"$in": [1, [2]]}}, "filter.a.$in[1]", "INVALID_FORMAT"),
        ({"a": {"$in": list(range(129))}}, "filter.a.$in", "INVALID_FORMAT"),
        ({"a": {"$exists": 1}}, "filter.a.$exists", "INVALID_FORMAT"),
        ({"a": {"$prefix": 1}}, "filter.a.$prefix", "INVALID_FORMAT"),
        ({"a": {"$eq": {"b": 1}}}, "filter.a.$eq", "INVALID_FORMAT"),
        ({"a": "x" * 4096}, "filter", "VALUE_OUT_OF_RANGE"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(wrong: Any, place: str, code: str):
    """So that whoever wrote it finds it."""
    assert refusal(wrong) == (place, code)


def test_filter_is_bounded():
    """In tests, in depth, and in what an error repeats of it."""
    assert parse_filter({f"m{number}": 1 for number in range(MOST_NODES)}).cost == MOST_NODES
    assert refusal({f"m{number:02}": 1 for number in range(MOST_NODES + 1)})[1] == "VALUE_OUT_OF_RANGE"
    deep: Any = {"a": 1}
    for _ in range(6):
        deep = {"$not": deep}
    assert refusal(deep)[1] == "VALUE_OUT_OF_RANGE"
    for _ in range(400):
        deep = {"$not": deep}
    assert refusal(deep)[1] in ("VALUE_OUT_OF_RANGE", "INVALID_FORMAT")
    assert len(refusal({f"{'x' * 3000}": {"$gt": None}})[0]) <= 200


def test_equal_filters_are_one():
    """Whatever the order of their members: then one view serves both."""
    one, other = parse_filter({"a": 1, "b": {"$gt": 1, "$lt": 3}}), parse_filter({"b": {"$lt": 3, "$gt": 1}, "a": 1})
    assert one == other
    assert hash(one) == hash(other)
    assert one != parse_filter({"a": True, "b": {"$gt": 1, "$lt": 3}})


def test_filter_of_data_alone_is_one_of_resources():
    """One that names the envelope is a filter of events."""
    assert parse_filter({"$or": [{"type": "a"}, {"data.x": 1}]}).is_of_state
    assert not parse_filter({"type": "a", "$not": {"$type": "twin.deleted"}}).is_of_state


# A second reading of the language, which knows nothing of the first.
NAMES = st.sampled_from(
    ["type", "load", "on", "gone", "tags", "data.city", "data.x.y", "no", "no.thing", "$type", "$id"]
)
SCALARS = st.sampled_from([None, True, False, 0, 1, 10, 1.5, "logistics", "Ulm", "", "twin.updated", "e1", "a"])
BOUNDS = st.sampled_from([0, 1, 10, 1.5, "", "Ulm", "twin"])
TESTS = st.recursive(
    SCALARS,
    lambda inner: (
        st.dictionaries(st.sampled_from(["$not"]), inner, min_size=1)
        | st.fixed_dictionaries(
            {},
            optional={
                "$eq": SCALARS,
                "$in": st.lists(SCALARS, min_size=1, max_size=3),
                **{f"${name}": BOUNDS for name in ("gt", "gte", "lt", "lte")},
                "$exists": st.booleans(),
                "$prefix": st.sampled_from(["", "U", "logistics", "twin."]),
            },
        ).filter(bool)
    ),
    max_leaves=3,
)
FILTERS = st.recursive(
    st.dictionaries(NAMES, TESTS, min_size=1, max_size=3),
    lambda inner: (
        st.fixed_dictionaries({"$and": st.lists(inner, min_size=1, max_size=2)})
        | st.fixed_dictionaries({"$or": st.lists(inner, min_size=1, max_size=2)})
        | st.fixed_dictionaries({"$not": inner})
    ),
    max_leaves=4,
)


def found(name: str, event: Any) -> list[Any]:
    """Return the value that a name names, in a list that is empty where there is none."""
    steps = [name[1:]] if name.startswith("$") else ["data", *name.split(".")]
    for step in steps:
        if not isinstance(event, dict) or step not in event:
            return []
        event = event[step]
    return [event]


def same(one: Any, other: Any) -> bool:
    numbers = [isinstance(each, int | float) and not isinstance(each, bool) for each in (one, other)]
    return one == other and (all(numbers) or type(one) is type(other))


def holds(test: Any, value: list[Any]) -> bool:
    if not isinstance(test, dict):
        return bool(value) and same(value[0], test)
    orders = {"$gt": [1], "$gte": [0, 1], "$lt": [-1], "$lte": [-1, 0]}
    for name, wanted in test.items():
        if name == "$not":
            ok = not holds(wanted, value)
        elif name == "$eq":
            ok = holds(wanted, value)
        elif name == "$in":
            ok = any(holds(each, value) for each in wanted)
        elif name == "$exists":
            ok = bool(value) is wanted
        elif name == "$prefix":
            ok = bool(value) and isinstance(value[0], str) and value[0].startswith(wanted)
        else:
            kinds = {str if isinstance(each, str) else float for each in (*value, wanted)}
            fits = bool(value) and type(value[0]) in (int, float, str) and len(kinds) == 1
            ok = fits and (value[0] > wanted) - (value[0] < wanted) in orders[name]
        if not ok:
            return False
    return True


def passes(wanted: Any, event: Any) -> bool:
    results: list[bool] = []
    for name, value in wanted.items():
        if name == "$and":
            results.append(all(passes(each, event) for each in value))
        elif name == "$or":
            results.append(any(passes(each, event) for each in value))
        elif name == "$not":
            results.append(not passes(value, event))
        else:
            results.append(holds(value, found(name, event)))
    return all(results)


@given(FILTERS)
def test_any_filter_says_what_a_second_reading_says(wanted: Any):
    """Two readings of the same page agree."""
    try:
        parsed = parse_filter(wanted)
    except HubError as refused:
        if refused.details[0].code != "VALUE_OUT_OF_RANGE":
            raise
        return
    assert parsed.matches(EVENT) is passes(wanted, EVENT)


@given(
    st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=6), inner), max_leaves=20)
)
def test_anything_is_read_or_refused(value: Any):
    """Nothing raises, but what the catalogue has."""
    try:
        parse_filter(value).matches(EVENT)
    except HubError as refused:
        if refused.code != "VALIDATION_ERROR":
            raise
