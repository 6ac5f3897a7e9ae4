"""The reader of presence finds what it is there to find."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.harness.presence_reader import PresenceReader


def diff(after: int, version: int, *, members: int, **changes: Any) -> Mapping[str, Any]:
    """Return a diff; changes are names by `joined`, `left`, `updated`."""
    lists = {what: [{"subject": name} for name in changes.get(what, "")] for what in ("joined", "left", "updated")}
    count = {"members": members, "connections": members}
    return {"after": str(after), "version": str(version), "epoch": "e", "count": count, **lists}


@pytest.mark.parametrize(
    ("frames", "wrong"),
    [
        ([diff(0, 1, members=1, joined="a"), diff(1, 2, members=2, joined="b"), diff(2, 3, members=1, left="a")], ""),
        # A list may have what is told next.
        ([diff(0, 1, members=1, updated="a"), diff(1, 2, members=0, left="a")], ""),
        ([diff(0, 1, members=1, joined="a"), diff(0, 1, members=1, joined="a")], ""),
        ([diff(0, 1, members=1, joined="a"), diff(2, 3, members=2, joined="b")], "lost"),
        ([diff(0, 1, members=2, joined="a")], "lost"),
        ([diff(0, 1, members=1, joined="a"), diff(1, 2, members=1, joined="a")], "doubled"),
        ([diff(0, 1, members=1, joined="a"), diff(1, 2, members=1, left="b")], ""),
        ([diff(0, 1, members=1, joined="a"), diff(1, 2, members=1, updated="b")], "lost doubled"),
        ([diff(0, 2, members=1, joined="a"), diff(2, 1, members=2, joined="b")], "disordered"),
    ],
)
def test_diffs(frames: list[Mapping[str, Any]], wrong: str):
    """Each goes on from the one before, and tells nobody twice."""
    reader = PresenceReader([], "")
    reader.begins_with({}, "0", "e")
    for frame in frames:
        reader.takes(frame)
    assert bool(reader.problems) is bool(wrong)
    assert {name for name in ("lost", "doubled", "disordered") if getattr(reader.counts, name)} == set(wrong.split())
