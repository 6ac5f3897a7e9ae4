"""What can be done with branches: a twin as it could be, made, changed, compared with the twin, simulated, applied or dropped.

Locks are taken in this order: the twin, the branch. A change of a branch holds the branch only.
"""

from collections.abc import Mapping
from itertools import islice
from typing import Any, NoReturn
from uuid import UUID

import orjson

from core.errors import Detail, HubError
from core.ids import new_id, parse_id
from core.operations.context import Context
from core.operations.operation import Operation, operation, operations_of
from core.operations.results import Deleted, Document, Page, Shown
from core.operations.validation import validated
from handlers.resources.crud import OWN_FIELDS
from handlers.resources.etag import matches
from handlers.resources.json_patch import patched
from handlers.resources.merge import merge_patch
from handlers.resources.models import ChangeInput, DeleteInput, GetInput, UpdateInput
from handlers.resources.store import MOST_DOCUMENT_BYTES
from handlers.twins import comparing
from handlers.twins.branches import store
from handlers.twins.branches.listing import branches_of
from handlers.twins.branches.models import (
    MOST_BRANCHES,
    MOST_CONFLICTS,
    ApplyBranch,
    Branch,
    BranchChange,
    Difference,
    ListBranches,
    NewBranch,
    WholeBranch,
)
from handlers.twins.branches.store import SQL
from handlers.twins.models import TwinBody
from handlers.twins.operations import Twins
from handlers.twins.simulations.beginning import Simulations
from handlers.twins.simulations.models import Simulate, Simulation

_READ, _WRITE = "read:twins", "write:twins"


class Branches:
    """The branches of the caller's organisation's twins; `twins` are what they are applied to, `simulations` begin theirs."""

    def __init__(self, twins: Twins, simulations: Simulations) -> None:
        self._twins = twins
        self._simulations = simulations

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return operations_of(self)

    @operation(
        "branches.create",
        touches="twins",
        scope=_WRITE,
        transaction="write",
        input=NewBranch,
        result=Document,
        shows=WholeBranch,
    )
    async def create(self, ctx: Context, new: NewBranch) -> Document:
        """Begin a branch of a twin, as the twin is now."""
        twin_id = _permitted(ctx, new.id)
        twin = await ctx.db.fetchrow(SQL["hold_twin"], twin_id)
        if twin is None:
            _no_twin()
        if await ctx.db.fetchval(SQL["count_open"], twin_id) >= MOST_BRANCHES:
            raise HubError("RESOURCE_CONFLICT", f"A twin has at most {MOST_BRANCHES} open branches; delete some")
        await ctx.db.execute(SQL["make_room"], twin_id, MOST_BRANCHES)
        made = (new_id(), twin_id, new.name, twin["version"], ctx.caller.subject, ctx.now)
        row = await ctx.db.fetchrow(SQL["insert"], *made)
        return store.shown(row, store.fields_of(twin["document"]))

    @operation(
        "branches.list",
        touches="twins",
        scope=_READ,
        transaction="read",
        input=ListBranches,
        result=Page,
        shows=Branch,
    )
    async def list(self, ctx: Context, wanted: ListBranches) -> Page:
        """List the branches of a twin, newest first, without their documents."""
        twin_id = _permitted(ctx, wanted.id)
        if await ctx.db.fetchval(SQL["has_twin"], twin_id) is None:
            _no_twin()
        return await branches_of(ctx.db, twin_id, wanted)

    @operation("branches.get", scope=_READ, transaction="read", input=GetInput, result=Document, shows=WholeBranch)
    async def get(self, ctx: Context, wanted: GetInput) -> Document:
        """Get a branch, with the twin as it would be."""
        row = await store.find(ctx.db, ctx.caller, wanted.id)
        return store.shown(row, await store.fields_in(ctx.db, row))

    @operation(
        "branches.update",
        scope=_WRITE,
        transaction="write",
        input=UpdateInput,
        result=Document,
        shows=WholeBranch,
        body=BranchChange,
    )
    async def update(self, ctx: Context, change: UpdateInput) -> Document:
        """Change the twin as it would be, by JSON Merge Patch (RFC 7396), or by JSON Patch (RFC 6902)."""
        held = await self._hold(ctx, change)
        _check_open(held)
        before = await store.fields_in(ctx.db, held)
        body: Any = validated(TwinBody, _changed(before, change))
        self._twins.allow(ctx, before, body)
        await self._twins.verify(ctx, before, body)
        fields = body.model_dump(mode="json")
        document = orjson.dumps(fields)
        if len(document) > MOST_DOCUMENT_BYTES:
            most = MOST_DOCUMENT_BYTES >> 10
            raise HubError("PAYLOAD_TOO_LARGE", f"A twin has at most {most} KiB; with this it would have more")
        row = await ctx.db.fetchrow(SQL["change"], held["id"], document.decode(), ctx.now)
        return store.shown(row, fields)

    @operation("branches.delete", scope=_WRITE, transaction="write", input=DeleteInput, result=Deleted, repeatable=True)
    async def delete(self, ctx: Context, gone: DeleteInput) -> Deleted:
        """Drop a branch; the twin stays as it is."""
        held = await self._hold(ctx, gone)
        await ctx.db.execute(SQL["remove"], held["id"])
        return Deleted("branches", held["id"], held["version"])

    @operation("branches.diff", scope=_READ, transaction="read", input=GetInput, result=Shown, shows=Difference)
    async def diff(self, ctx: Context, wanted: GetInput) -> Shown:
        """Tell how a branch differs from what it began with, and whether the twin has moved on since."""
        row = await store.find(ctx.db, ctx.caller, wanted.id)
        twin = await ctx.db.fetchrow(SQL["twin"], row["twin_id"])
        if twin is None:
            store.missing()  # with its twin
        base = await store.base_of(ctx.db, row)
        ours = base if row["document"] is None else store.fields_of(row["document"])
        told = {
            "branch_id": str(row["id"]),
            "twin_id": str(row["twin_id"]),
            "base_version": row["base_version"],
            "twin_version": twin["version"],
            "has_moved": twin["version"] != row["base_version"],
            "json_patch": comparing.json_patch(base, ours),
            "merge_patch": comparing.merge_patch(base, ours),
            "conflicts": _conflicts(base, ours, store.fields_of(twin["document"])),
        }
        return Shown(orjson.dumps(told).decode())

    @operation(
        "branches.apply",
        scope=_WRITE,
        transaction="write",
        input=ApplyBranch,
        result=Document,
        shows=WholeBranch,
    )
    async def apply(self, ctx: Context, wanted: ApplyBranch) -> Document:
        """Make of a twin what a branch of it says; what only the twin has changed since stays."""
        twin_id = (await store.find(ctx.db, ctx.caller, wanted.id))["twin_id"]
        twin = await ctx.db.fetchrow(SQL["hold_twin"], twin_id)
        held = await store.find(ctx.db, ctx.caller, wanted.id, hold=True)
        _check_open(held)
        base, theirs = await store.base_of(ctx.db, held), store.fields_of(twin["document"])
        ours = base if held["document"] is None else store.fields_of(held["document"])
        _check_twin(wanted.if_match, held, twin["version"], _conflicts(base, ours, theirs))
        fields, version = comparing.merged(base, ours, theirs), twin["version"]
        if not comparing.same(fields, theirs):
            changed = await self._twins.replace(ctx, ChangeInput(id=str(twin_id), body=fields))
            version = changed.version
        row = await ctx.db.fetchrow(SQL["apply"], held["id"], version, ctx.now)
        return store.shown(row, ours)

    @operation(
        "branches.simulate",
        gives="simulations",
        scope=_WRITE,
        transaction="write",
        input=Simulate,
        result=Document,
        shows=Simulation,
    )
    async def simulate(self, ctx: Context, wanted: Simulate) -> Document:
        """Simulate the twin as it would be. The answer is the simulation, done or not."""
        branch = await store.find(ctx.db, ctx.caller, wanted.id)
        if await ctx.db.fetchval(SQL["keep_twin"], branch["twin_id"]) is None:
            store.missing()  # with its twin
        fields = await store.fields_in(ctx.db, branch)
        return await self._simulations.begin(ctx, branch["twin_id"], fields, branch["version"], wanted, branch["id"])

    async def _hold(self, ctx: Context, wanted: DeleteInput) -> Any:
        held = await store.find(ctx.db, ctx.caller, wanted.id, hold=True)
        if wanted.if_match is not None and not matches(wanted.if_match, held["version"]):
            raise HubError("PRECONDITION_FAILED", f"The current version is {held['version']}")
        return held


def _changed(before: Mapping[str, Any], change: UpdateInput) -> dict[str, Any]:
    if change.patch is not None:
        return patched(orjson.dumps(before).decode(), change.patch, OWN_FIELDS)
    return merge_patch(before, {name: value for name, value in change.body.items() if name not in OWN_FIELDS})


def _conflicts(base: Mapping[str, Any], ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    return list(islice(comparing.conflicts(base, ours, theirs), MOST_CONFLICTS))


def _check_open(row: Any) -> None:
    if row["status"] != "open":
        raise HubError("RESOURCE_CONFLICT", f"The branch was applied, as version {row['applied_version']} of its twin")


def _check_twin(if_match: str | None, branch: Any, version: int, places: list[str]) -> None:
    """Raise HubError unless the caller names the twin's version, or it is still the one that the branch began with."""
    if if_match is not None:
        if not matches(if_match, version):
            raise HubError("PRECONDITION_FAILED", f"The current version of the twin is {version}")
    elif version != branch["base_version"]:
        moved = f"The twin has moved on from version {branch['base_version']} to {version}"
        details = [Detail(place, "RESOURCE_CONFLICT", "The twin was changed here as well") for place in places]
        raise HubError("RESOURCE_CONFLICT", f"{moved}; name that in If-Match to apply the branch to it", details)


def _permitted(ctx: Context, text: str) -> UUID:
    id = parse_id(text)
    if id is None or not ctx.caller.may_touch(id):
        _no_twin()
    return id


def _no_twin() -> NoReturn:
    raise HubError("RESOURCE_NOT_FOUND", "There is no twin with this id")
