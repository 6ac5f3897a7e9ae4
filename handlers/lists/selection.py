"""`fields=id,name,metadata.team`: smaller documents, made of stored ones, for those who ask."""

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

import orjson

from core.errors import Detail, HubError

MOST_FIELDS = 50
MOST_STEPS = 10
# Parsing is for the one loop that everybody waits for: after so many bytes the others have their turn.
SLICE_BYTES = 64 * 1024

# What is kept of an object: all of what a name holds (None), or a part of it.
Tree = dict[str, "Tree | None"]


def selection_of(wanted: Sequence[str], known: Collection[str]) -> Tree:
    """Return what is to be kept, the id always.

    Raises HubError UNKNOWN_PARAMETER for a name that no resource of the kind has, VALIDATION_ERROR for too many or too deep ones.
    """
    if len(wanted) > MOST_FIELDS:
        message = f"Names at most {MOST_FIELDS} fields"
        raise HubError("VALIDATION_ERROR", details=[Detail("fields", "VALUE_OUT_OF_RANGE", message)])
    tree: Tree = {"id": None}
    for name in wanted:
        steps = name.split(".")
        if steps[0] not in known:
            message = f"Unknown field '{name[:64]}'; known here: {', '.join(sorted(known))}"
            raise HubError("UNKNOWN_PARAMETER", message, details=[Detail("fields", "UNKNOWN_PARAMETER", message)])
        if len(steps) > MOST_STEPS or not all(steps):
            message = f"A path has at most {MOST_STEPS} names with dots between them"
            raise HubError("VALIDATION_ERROR", details=[Detail("fields", "INVALID_FORMAT", message)])
        _add(tree, steps)
    return tree


async def selected(documents: Sequence[str], tree: Tree) -> list[str]:
    """Return the documents with what `tree` keeps of each."""
    made: list[str] = []
    waiting = 0
    for document in documents:
        waiting += len(document)
        if waiting > SLICE_BYTES:
            waiting = 0
            await asyncio.sleep(0)
        made.append(orjson.dumps(_kept(orjson.loads(document), tree)).decode())
    return made


def _add(tree: Tree, steps: Sequence[str]) -> None:
    for step in steps[:-1]:
        inner = tree.setdefault(step, {})
        if inner is None:
            return  # the whole of it is wanted already
        tree = inner
    tree[steps[-1]] = None


def _kept(value: Any, tree: Tree) -> Any:
    """Of an object the names of `tree` that it has; of an array that of each element; of anything else itself."""
    if isinstance(value, list):
        return [_kept(each, tree) for each in value]  # pyright: ignore[reportUnknownVariableType] - JSON
    if not isinstance(value, dict):
        return value
    return {
        name: value[name] if inner is None else _kept(value[name], inner)
        for name, inner in tree.items()
        if name in value
    }
