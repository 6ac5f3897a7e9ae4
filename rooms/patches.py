"""What changed between two JSON values, as a JSON Patch (RFC 6902). Pure.

Members of objects are added, removed, replaced, and followed into; lists of one length item by item. Another list replaces the
whole one: an edit script of it would cost more to find than it saves.
"""

from typing import Any, cast

# Deeper than this a change is told by replacing what is there.
MOST_DEPTH = 64
Operation = dict[str, Any]


def patch_between(before: Any, after: Any) -> list[Operation]:
    """Return operations that make `after` of `before`; none where they are the same JSON value."""
    found: list[Operation] = []
    _compare(before, after, "", found, MOST_DEPTH)
    return found


def _compare(before: Any, after: Any, path: str, found: list[Operation], depth: int) -> None:
    if isinstance(before, dict) and isinstance(after, dict) and depth:
        _compare_objects(cast("dict[str, Any]", before), cast("dict[str, Any]", after), path, found, depth)
    elif _are_lists_of_one_length(before, after) and depth:
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            _compare(old, new, f"{path}/{index}", found, depth - 1)
    elif not _is_same(before, after):
        found.append({"op": "replace", "path": path, "value": after})


def _compare_objects(
    before: dict[str, Any], after: dict[str, Any], path: str, found: list[Operation], depth: int
) -> None:
    for name, old in before.items():
        place = f"{path}/{_escaped(name)}"
        if name in after:
            _compare(old, after[name], place, found, depth - 1)
        else:
            found.append({"op": "remove", "path": place})
    for name, new in after.items():
        if name not in before:
            found.append({"op": "add", "path": f"{path}/{_escaped(name)}", "value": new})


def _are_lists_of_one_length(before: Any, after: Any) -> bool:
    if not isinstance(before, list) or not isinstance(after, list):
        return False
    return len(cast("list[Any]", before)) == len(cast("list[Any]", after))


def _is_same(before: Any, after: Any) -> bool:
    # In JSON neither true and 1 nor 1 and 1.0 are written alike. Of lists of other lengths, and below MOST_DEPTH, it may not be
    # seen: then they are told anew, which is right as well.
    return type(before) is type(after) and not isinstance(before, dict | list) and before == after


def _escaped(name: str) -> str:
    """Write a member's name as a token of a pointer (RFC 6901, section 3)."""
    return name.replace("~", "~0").replace("/", "~1")
