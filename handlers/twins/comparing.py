"""How two JSON values differ, and what becomes of two changes of one value. No I/O.

same()          whether they are equal
json_patch()    what makes one of the other, as RFC 6902
merge_patch()   the same as RFC 7396, where that can say it
merged()        both changes together, member by member; where both change the same, the first holds
conflicts()     where both change the same, to something else

An array is one value, but for patches of arrays of one length. The work is at most the size of the values times their depth.
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from handlers.resources.json_patch import MOST_OPERATIONS

# Stands for a member that is not there.
_GONE = object()


class _Unsayable(Exception):
    """A merge patch cannot say it: a null within is none that it could set."""


def same(one: Any, other: Any) -> bool:
    """Tell whether two JSON values are equal: 1 is 1.0, but not true."""
    if _is_object(one) and _is_object(other):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))  # pyright: ignore[reportUnknownArgumentType] - JSON
    return isinstance(one, bool) is isinstance(other, bool) and one == other


def json_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return operations that make `after` of `before`: as many as a patch may have, of whole members where it would have more."""
    operations: list[dict[str, Any]] = []
    for operation in _operations(before, after, ""):
        operations.append(operation)
        if len(operations) > MOST_OPERATIONS:
            return [{"op": "add", "path": _below("", name), "value": value} for name, value in _changed(before, after)]
    return operations


def merge_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the merge patch that makes `after` of `before`, None where none does: it cannot set a null within a member.

    Of the members themselves a null stands for the default, which is what a null of theirs is.
    """
    patch: dict[str, Any] = {name: None for name in before if name not in after}
    try:
        for name, value in _changed(before, after):
            patch[name] = None if value is None else _merging(before.get(name, _GONE), value)
    except _Unsayable:
        return None
    return patch


def merged(base: Any, ours: Any, theirs: Any) -> Any:
    """Return `base` with both changes; where both change the same, `ours` holds."""
    if same(base, ours):
        return theirs
    if not (_is_object(ours) and _is_object(theirs)):
        return ours
    before = base if _is_object(base) else {}
    whole: dict[str, Any] = {}
    for name in (*theirs, *(name for name in ours if name not in theirs)):
        value = merged(before.get(name, _GONE), ours.get(name, _GONE), theirs.get(name, _GONE))
        if value is not _GONE:
            whole[name] = value
    return whole


def conflicts(base: Any, ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    """Give the places (RFC 6901) that both have changed, each to something else."""
    if same(ours, theirs) or same(base, ours) or same(base, theirs):
        return
    if not (_is_object(ours) and _is_object(theirs)):
        yield path
        return
    before = base if _is_object(base) else {}
    for name in sorted(ours.keys() | theirs.keys()):
        held, one, other = (each.get(name, _GONE) for each in (before, ours, theirs))
        yield from conflicts(held, one, other, _below(path, name))


def _operations(before: Any, after: Any, path: str) -> Iterator[dict[str, Any]]:
    if _is_object(before) and _is_object(after):
        yield from ({"op": "remove", "path": _below(path, name)} for name in before if name not in after)
        for name, value in after.items():
            if name in before:
                yield from _operations(before[name], value, _below(path, name))
            else:
                yield {"op": "add", "path": _below(path, name), "value": value}
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):  # pyright: ignore[reportUnknownArgumentType] - JSON
        for place, (one, other) in enumerate(zip(before, after, strict=True)):  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType] - JSON
            yield from _operations(one, other, f"{path}/{place}")
    elif not same(before, after):
        yield {"op": "replace", "path": path, "value": after}


def _merging(before: Any, after: Any) -> Any:
    if after is None:
        raise _Unsayable
    if not _is_object(after):
        return after
    held = before if _is_object(before) else {}
    patch: dict[str, Any] = {name: None for name in held if name not in after}
    for name, value in _changed(held, after):
        patch[name] = _merging(held.get(name, _GONE), value)
    return patch


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, value in after.items() if not same(before.get(name, _GONE), value))


def _below(path: str, name: str) -> str:
    return f"{path}/{name.replace('~', '~0').replace('/', '~1')}"


def _is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)
