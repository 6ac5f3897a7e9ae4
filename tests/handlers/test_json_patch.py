"""JSON Patch of resources: what RFC 6902 says, within bounds, and never a part of it."""

from typing import Any

import jsonpatch
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import HubError
from handlers.resources.json_patch import MOST_CARRIED_BYTES, MOST_STEPS, PatchOperation, patched, writes_to
from tests.handlers.house import House, refused

OWN = frozenset({"id", "version"})
DOCUMENT: dict[str, Any] = {"id": "a", "version": 3, "data": {"list": [1, 2], "a/b": 1, "m~n": None, "": {"x": True}}}

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab/~", max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab/~01", max_size=3), inner, max_size=4),
    max_leaves=12,
)


def operations(*each: dict[str, Any]) -> list[PatchOperation]:
    return [PatchOperation.model_validate(one) for one in each]


def apply(*each: dict[str, Any]) -> dict[str, Any]:
    return patched(orjson.dumps(DOCUMENT).decode(), operations(*each), OWN)["data"]


def refusal(*each: dict[str, Any]) -> HubError:
    with pytest.raises(HubError) as caught:
        apply(*each)
    return caught.value


@pytest.mark.parametrize(
    ("operation", "place", "value"),
    [
        ({"op": "add", "path": "/data/list/1", "value": 9}, "list", [1, 9, 2]),
        ({"op": "add", "path": "/data/list/-", "value": [3]}, "list", [1, 2, [3]]),
        ({"op": "add", "path": "/data/a~1b", "value": 2}, "a/b", 2),
        ({"op": "replace", "path": "/data/m~0n", "value": 2}, "m~n", 2),
        ({"op": "remove", "path": "/data/list/0"}, "list", [2]),
        ({"op": "move", "from": "/data/list/0", "path": "/data/list/1"}, "list", [2, 1]),
        ({"op": "copy", "from": "/data/list", "path": "/data/~1"}, "/", [1, 2]),
        ({"op": "replace", "path": "/data//x", "value": None}, "", {"x": None}),
        ({"op": "copy", "from": "/version", "path": "/data/list/0"}, "list", [3, 1, 2]),
        ({"op": "test", "path": "/version", "value": 3, "comment": "means nothing"}, "a/b", 1),
    ],
)
def test_each_operation_does_what_it_says(operation: dict[str, Any], place: str, value: Any):
    """Arrays, escaped names, empty names, and members that RFC 6902 does not know."""
    assert apply(operation)[place] == value


@given(_VALUES, _VALUES)
def test_patch_between_two_documents_leads_from_one_to_the_other(source: Any, target: Any):
    """Whatever the library makes of a difference."""
    patch = jsonpatch.make_patch({"data": source}, {"data": target})
    before = orjson.dumps({"data": source}).decode()
    assert patched(before, operations(*patch), OWN) == {"data": target}


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        ({"op": "test", "path": "/data/a~1b", "value": True}, "PATCH_TEST_FAILED"),
        ({"op": "test", "path": "/data/none", "value": None}, "PATCH_TEST_FAILED"),
        ({"op": "remove", "path": "/data/none"}, "RESOURCE_CONFLICT"),
        ({"op": "remove", "path": ""}, "RESOURCE_CONFLICT"),
        ({"op": "replace", "path": "/data/list/-", "value": 1}, "RESOURCE_CONFLICT"),
        ({"op": "add", "path": "/data/list/01", "value": 1}, "RESOURCE_CONFLICT"),
        ({"op": "add", "path": f"/data/list/{'9' * 3000}", "value": 1}, "RESOURCE_CONFLICT"),
        ({"op": "add", "path": "/data/none/x", "value": 1}, "RESOURCE_CONFLICT"),
        ({"op": "add", "path": "/data/list/-/x", "value": 1}, "RESOURCE_CONFLICT"),
        ({"op": "move", "from": "/data", "path": "/data/x"}, "RESOURCE_CONFLICT"),
        ({"op": "copy", "from": "/data/list/-", "path": "/data/x"}, "RESOURCE_CONFLICT"),
    ],
)
def test_operation_that_cannot_be_done_is_refused_with_its_number(operation: dict[str, Any], code: str):
    """A test that fails has a code of its own; the number counts from 0."""
    error = refusal({"op": "test", "path": "/version", "value": 3}, operation)
    assert error.code == code
    assert [detail.field for detail in error.details] == ["patch[1]"]


@pytest.mark.parametrize(
    ("operation", "place"),
    [
        ({"op": "replace", "path": "/version", "value": 9}, "path"),
        ({"op": "add", "path": "/id/x", "value": 9}, "path"),
        ({"op": "remove", "path": "/id"}, "path"),
        ({"op": "move", "from": "/id", "path": "/data/x"}, "from"),
        ({"op": "copy", "from": "/data", "path": "/version"}, "path"),
    ],
)
def test_what_the_hub_writes_is_not_changed(operation: dict[str, Any], place: str):
    """By none of the operations that change."""
    error = refusal(operation)
    assert error.code == "VALIDATION_ERROR"
    assert [detail.field for detail in error.details] == [f"patch[0].{place}"]


def test_copies_of_copies_end():
    """Each would double the document: what they carry is bounded, and so is the depth that moves build."""
    doubling = {"op": "copy", "from": "/data", "path": "/data/again"}
    error = refusal({"op": "add", "path": "/data/text", "value": "x" * 1000}, *[doubling] * 100)
    assert (error.code, error.details[0].code) == ("VALIDATION_ERROR", "VALUE_OUT_OF_RANGE")
    large = {"op": "add", "path": "/data/large", "value": "x" * MOST_CARRIED_BYTES}
    assert refusal(large, {"op": "move", "from": "/data/large", "path": "/data/x"}).details[0].field == "patch[1].from"
    nested: Any = 0
    for _ in range(60):
        nested = {"a": nested}
    deeper = [
        {"op": "add", "path": "/data/one", "value": nested},
        *[
            each
            for _ in range(20)
            for each in (
                {"op": "add", "path": "/data/two", "value": nested},
                {"op": "move", "from": "/data/one", "path": "/data/two" + "/a" * 60},
                {"op": "move", "from": "/data/two", "path": "/data/one"},
            )
        ],
    ]
    error = refusal(*deeper)
    assert "too deeply" in error.details[0].message


@pytest.mark.parametrize("path", ["data", "/a~2", "/~", "/a" * (MOST_STEPS + 1), 7, None])
async def test_path_that_is_none_is_refused_before_anything_is_read(house: House, path: Any):
    """With its place in the patch."""
    made = await house.create("twins", name="Pump")
    patch = [{"op": "remove", "path": "/metadata"}, {"op": "remove", "path": path}]
    error = await refused(house.run("twins.update", id=str(made.id), patch=patch))
    assert [(each.field, each.code) for each in error.details] == [("patch[1].path", "INVALID_FORMAT")]


async def test_change_has_a_body_or_a_patch(house: House):
    """Neither is refused as before, both as a contradiction."""
    made = await house.create("twins", name="Pump")
    error = await refused(house.run("twins.update", id=str(made.id)))
    assert [(each.field, each.code) for each in error.details] == [("body", "MISSING_REQUIRED_FIELD")]
    error = await refused(house.run("twins.update", id=str(made.id), body={"name": "A"}, patch=[]))
    assert [each.field for each in error.details] == ["patch"]
    assert (await house.run("twins.update", id=str(made.id), patch=[])).version == 2


@pytest.mark.parametrize(
    ("path", "expected"), [("/sources/-", True), ("/sources", True), ("", True), ("/sourcesX", False), ("/data", False)]
)
def test_patch_tells_which_fields_it_may_change(path: str, expected: bool):
    """Tests change nothing; moves change both ends."""
    assert writes_to(operations({"op": "add", "path": path, "value": 1}), "sources") is expected
    assert writes_to(operations({"op": "move", "from": path, "path": "/x"}), "sources") is expected
    assert not writes_to(operations({"op": "test", "path": path, "value": 1}), "sources")
