"""What can be asked of twins' states: how far they are from what is desired, and what they are connected with."""

from typing import Any, NoReturn
from uuid import UUID

import orjson

from core.errors import Detail, HubError
from core.ids import parse_id
from core.operations.context import Context
from core.operations.operation import Operation, operation, operations_of
from core.operations.results import Page, Shown
from handlers.resources.models import GetInput
from handlers.twins.state.difference import difference
from handlers.twins.state.relating import SQL
from handlers.twins.state.views import (
    Neighbour,
    NeighboursInput,
    PathsInput,
    SubtreeInput,
    TwinDifference,
    TwinPaths,
    TwinSubtree,
)
from handlers.twins.state.walking import Way, below, shortest

_READ = "read:twins"


class TwinState:
    """The twins of the caller's organisation, as far as the caller may see them."""

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return operations_of(self)

    @operation("twins.difference", scope=_READ, transaction="read", input=GetInput, result=Shown, shows=TwinDifference)
    async def difference(self, ctx: Context, wanted: GetInput) -> Shown:
        """Tell how what a twin has reported differs from what is desired."""
        row = await _twin(ctx, wanted.id)
        twin = orjson.loads(row["document"])
        desired, reported = twin.get("desired"), twin.get("reported")
        patch = difference(desired, reported)
        return _shown(
            twin_id=str(row["id"]),
            version=row["version"],
            desired=desired,
            reported=reported,
            difference=patch,
            is_in_sync=not patch,
        )

    @operation(
        "twins.neighbours",
        gives="relationships",
        scope=_READ,
        transaction="read",
        input=NeighboursInput,
        result=Page,
        shows=Neighbour,
    )
    async def neighbours(self, ctx: Context, wanted: NeighboursInput) -> Page:
        """List what a twin is connected with, by the name of the relationship."""
        row = await _twin(ctx, wanted.id)
        way = Way(wanted.direction, wanted.name, 1, _among(ctx))
        first = (wanted.page - 1) * wanted.per_page
        rows = await ctx.db.fetch(SQL["neighbours"], row["id"], *way.args, wanted.per_page, first)
        items = [_neighbour(row["id"], each) for each in rows if each["id"] is not None]
        return Page(items, wanted.page, wanted.per_page, rows[0]["total"])

    @operation("twins.paths", scope=_READ, transaction="read", input=PathsInput, result=Shown, shows=TwinPaths)
    async def paths(self, ctx: Context, wanted: PathsInput) -> Shown:
        """Find the shortest ways from a twin to another."""
        row = await _twin(ctx, wanted.id)
        goal = parse_id(wanted.to)
        if goal is None or not ctx.caller.may_touch(goal) or await ctx.db.fetchrow(SQL["there"], [goal]) is None:
            detail = Detail("to", "INVALID_FORMAT", "There is no twin with this id")
            raise HubError("VALIDATION_ERROR", details=[detail])
        way = Way(wanted.direction, wanted.name, wanted.depth, _among(ctx))
        found, is_whole = await shortest(ctx.db, row["id"], goal, way)
        return _shown(
            twin_id=str(row["id"]),
            to=str(goal),
            length=None if found is None else len(found[0]),
            paths=[{"steps": [_step(each) for each in path]} for path in found or ()],
            complete=is_whole,
        )

    @operation("twins.subtree", scope=_READ, transaction="read", input=SubtreeInput, result=Shown, shows=TwinSubtree)
    async def subtree(self, ctx: Context, wanted: SubtreeInput) -> Shown:
        """List what is below a twin, level by level."""
        row = await _twin(ctx, wanted.id)
        found, is_whole = await below(ctx.db, row["id"], Way("out", wanted.name, wanted.depth, _among(ctx)))
        twins = [{**_near(each), "depth": depth, "parent_id": str(each["origin"])} for depth, each in found.values()]
        return _shown(twin_id=str(row["id"]), name=wanted.name, twins=twins, complete=is_whole)


async def _twin(ctx: Context, text: str) -> Any:
    id = parse_id(text)
    row = await ctx.db.fetchrow(SQL["twin"], id) if id is not None and ctx.caller.may_touch(id) else None
    if row is None:
        _missing()
    return row


def _missing() -> NoReturn:
    raise HubError("RESOURCE_NOT_FOUND", "There is no twin with this id")


def _among(ctx: Context) -> list[UUID] | None:
    return None if ctx.caller.resource_ids is None else list(ctx.caller.resource_ids)


def _near(row: Any) -> dict[str, Any]:
    return {"id": str(row["id"]), "name": row["title"], "type": row["type"], "status": row["status"]}


def _step(row: Any) -> dict[str, Any]:
    return {"name": row["name"], "direction": row["direction"], "twin": _near(row)}


def _neighbour(id: UUID, row: Any) -> str:
    one, other = (id, row["id"]) if row["direction"] == "out" else (row["id"], id)
    told = {"id": f"{one}:{row['name']}:{other}", **_step(row), "metadata": orjson.loads(row["metadata"])}
    return orjson.dumps(told).decode()


def _shown(**told: Any) -> Shown:
    return Shown(orjson.dumps(told).decode())
