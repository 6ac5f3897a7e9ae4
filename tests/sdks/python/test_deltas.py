"""Deltas: what came as a patch is whole again, and what was handed out before is not changed by it."""

import copy
from typing import Any

import jsonpatch
from hypothesis import given, settings
from hypothesis import strategies as some

from aimatrix.live import Event, Place
from aimatrix.live.deltas import Deltas, patched

KEYS = some.text(alphabet="ab/~", max_size=2)
VALUES = some.recursive(
    some.none() | some.integers(0, 9) | some.text(max_size=2),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = some.dictionaries(KEYS, VALUES, max_size=5)
PLACE = Place("1", "k1")


@settings(deadline=None)
@given(OBJECTS, OBJECTS)
def test_patch_makes_the_other_and_leaves_the_one(one: Any, other: Any):
    """As another library of patches makes it, in the operations that the hub uses."""
    before = copy.deepcopy(one)
    plain: list[Any] = [each for each in jsonpatch.make_patch(one, other) if each["op"] in ("add", "remove", "replace")]
    if len(plain) < len(list(jsonpatch.make_patch(one, other))):
        plain = [
            {"op": "replace", "path": f"/{_escaped(key)}", "value": other[key]} for key in one.keys() & other.keys()
        ]
        plain += [{"op": "remove", "path": f"/{_escaped(key)}"} for key in one.keys() - other.keys()]
        plain += [{"op": "add", "path": f"/{_escaped(key)}", "value": other[key]} for key in other.keys() - one.keys()]
    assert patched(one, plain) == other
    assert one == before


def test_states_are_kept_by_channel_and_subject_until_they_are_over():
    """A channel without deltas is let through as it is."""
    deltas = Deltas()
    deltas.follow("twins")
    deltas.made_whole(event("twins", {"data": {"load": 1, "more": {"x": 1}}}))
    change = event("twins", {}, patch=[{"op": "replace", "path": "/load", "value": 2}])
    assert deltas.made_whole(change).data == {"load": 2, "more": {"x": 1}}
    other = event("agents", {"data": 1})
    assert deltas.made_whole(other) is other
    deltas.begin("twins")
    deltas.made_whole(event("twins", {"data": {"load": 5}}))
    assert deltas.made_whole(change).data == {"load": 2}
    gone = deltas.made_whole(event("twins", {"data": {"id": "t"}}, left=True))
    assert gone.left


def event(channel: str, body: dict[str, Any], **more: Any) -> Event:
    """Return an event of one subject."""
    envelope = {"id": "e", "type": "twin.updated", "subject": "twins/t", **body}
    return Event(channel, PLACE, {"type": "event", "channel": channel, "offset": "1", "event": envelope, **more})


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
