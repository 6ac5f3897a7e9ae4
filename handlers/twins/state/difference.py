"""How far what a twin shall be is from what it is: the merge patch between the two (RFC 7396)."""

from collections.abc import Mapping
from typing import Any

from handlers.resources.merge import merge_patch

_NOTHING = object()


def difference(desired: Mapping[str, Any] | None, reported: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the merge patch that makes of `reported` what is `desired`; nothing desired asks for nothing.

    A null within what is desired means that the member shall not be there, as in any merge patch.
    """
    return {} if desired is None else _patch(merge_patch({}, desired), reported or {})


def _patch(target: Mapping[str, Any], source: Mapping[str, Any]) -> dict[str, Any]:
    patch: dict[str, Any] = dict.fromkeys(name for name in source if name not in target)
    for name, value in target.items():
        held = source.get(name, _NOTHING)
        if isinstance(value, dict) and isinstance(held, dict):
            inner = _patch(value, held)  # pyright: ignore[reportUnknownArgumentType] - JSON's objects have string keys
            if inner:
                patch[name] = inner
        elif not _same(value, held):
            patch[name] = value
    return patch


def _same(one: Any, other: Any) -> bool:
    """Tell whether two JSON values are equal: 1 is 1.0, but not true."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType] - JSON
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))  # pyright: ignore[reportUnknownArgumentType] - JSON
    return isinstance(one, bool) is isinstance(other, bool) and one == other
