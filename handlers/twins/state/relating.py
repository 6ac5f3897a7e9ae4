"""The table of relationships: written with the twin whose document has them, so that they can be asked from both ends."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

from core.auth.caller import Caller
from core.errors import Detail, HubError
from core.store.queries import load_queries
from core.store.statements import Statements
from handlers.resources.store import Beside
from handlers.twins.state.models import Relationship

SQL = load_queries(Path(__file__).with_name("graph.sql"))

_Key = tuple[str, str]


def related(id: UUID, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> Beside | None:
    """Return what makes the table say what a twin's document says; of one that is gone, nothing is said by it or of it.

    Only what changes is written: a target that has gone left the table, and stays out of it.
    """
    if after is None:
        return Beside(SQL["forget"], (id,))
    was, becomes = _rows(before), _rows(after)
    gone = [key for key in was if key not in becomes]
    new = [(key, metadata) for key, metadata in becomes.items() if was.get(key) != metadata]
    if not gone and not new:
        return None
    args = (
        [name for name, _ in gone],
        [UUID(target) for _, target in gone],
        [name for (name, _), _ in new],
        [UUID(target) for (_, target), _ in new],
        [metadata for _, metadata in new],
    )
    return Beside(SQL["relate"], (id, *args))


def check_single(relationships: Sequence[Relationship]) -> None:
    """Raise HubError VALIDATION_ERROR where a relationship is there twice."""
    seen: set[tuple[str, UUID]] = set()
    twice: list[int] = []
    for index, each in enumerate(relationships):
        if (each.name, each.target) in seen:
            twice.append(index)
        seen.add((each.name, each.target))
    _refuse(twice, "It is there already", "")


async def check_targets(
    db: Statements, caller: Caller, before: Mapping[str, Any] | None, relationships: Sequence[Relationship]
) -> None:
    """Raise HubError VALIDATION_ERROR, with the places, where a target is no twin that the caller may see.

    Those that the twin had before may have gone since.
    """
    held = {target for _, target in _rows(before)}
    new = {each.target for each in relationships if str(each.target) not in held}
    if not new:
        return
    rows = await db.fetch(SQL["there"], list(new))
    there = {row["id"] for row in rows if caller.may_touch(row["id"])}
    missing = [index for index, each in enumerate(relationships) if each.target in new - there]
    _refuse(missing, "There is no twin with this id", ".target")


def _rows(fields: Mapping[str, Any] | None) -> dict[_Key, str]:
    """Return the metadata (JSON) of a document's relationships, by name and target."""
    held = (fields or {}).get("relationships", ())
    return {
        (each["name"], each["target"]): orjson.dumps(each["metadata"], option=orjson.OPT_SORT_KEYS).decode()
        for each in held
    }


def _refuse(indexes: Sequence[int], message: str, member: str) -> None:
    if indexes:
        details = [Detail(f"relationships[{index}]{member}", "INVALID_FORMAT", message) for index in indexes]
        raise HubError("VALIDATION_ERROR", details=details)
