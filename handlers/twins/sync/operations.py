"""What can be done with the synchronisation of a twin: looked at, and run by hand."""

from typing import Any, NoReturn
from uuid import UUID

import orjson

from core.clock import rfc3339
from core.errors import HubError
from core.ids import parse_id
from core.jobs.jobs import Jobs
from core.operations.context import Context
from core.operations.operation import Operation, operation, operations_of
from core.operations.results import Shown
from handlers.resources.models import GetInput
from handlers.twins.sync.following import SQL
from handlers.twins.sync.models import Sync, SyncBegun
from handlers.twins.sync.work import SYNC

_NO_SOURCE = "The twin has no source: nothing is fetched"


class SyncOperations:
    """The synchronisation of the caller's organisation's twins."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return operations_of(self)

    @operation(
        "sync.get", touches="twins", scope="read:twins", transaction="read", input=GetInput, result=Shown, shows=Sync
    )
    async def get(self, ctx: Context, wanted: GetInput) -> Shown:
        """Tell when a twin's data was fetched from its source, what came of it, and when it is fetched next."""
        row = await ctx.db.fetchrow(SQL["shown"], _permitted(ctx, wanted.id), SYNC)
        if row is None:
            _no_twin()
        twin = orjson.loads(row["document"])
        source, schedule = twin.get("source"), twin.get("sync_schedule")
        next_at = row["next_at"]
        told: dict[str, Any] = {"twin_id": twin["id"], "status": row["job"] or "idle", "sync_schedule": schedule}
        told |= {"source": source, "reason": _reason(source, schedule)}
        # What is due already is begun with as soon as somebody looks.
        told |= {
            "next_at": None if next_at is None else rfc3339(max(next_at, ctx.now)),
            "last_at": _moment(row["last_at"]),
        }
        told |= {"outcome": row["outcome"], "error": None if row["error"] is None else orjson.loads(row["error"])}
        told |= {"succeeded_at": _moment(row["succeeded_at"]), "failures": row["failures"]}
        return Shown(orjson.dumps(told).decode())

    @operation(
        "sync.run",
        touches="twins",
        scope="write:twins",
        transaction="write",
        input=GetInput,
        result=Shown,
        shows=SyncBegun,
    )
    async def run(self, ctx: Context, wanted: GetInput) -> Shown:
        """Fetch a twin's data from its source now, besides its schedule."""
        twin_id = _permitted(ctx, wanted.id)
        row = await ctx.db.fetchrow(SQL["has_source"], twin_id)
        if row is None:
            _no_twin()
        if row["has_source"] is None:
            raise HubError("RESOURCE_CONFLICT", _NO_SOURCE)
        id = str(twin_id)
        job = await self._jobs.enqueue(ctx.db, ctx.caller.org_id, SYNC, {"twin_id": id}, key=id)
        ctx.after_commit(self._jobs.poke)
        return Shown(orjson.dumps({"twin_id": id, "job_id": str(job.id), "status": "queued"}).decode())


def _reason(source: Any, schedule: str | None) -> str | None:
    if source is None:
        return _NO_SOURCE
    return "The twin has no sync_schedule: it is run by hand" if schedule is None else None


def _permitted(ctx: Context, text: str) -> UUID:
    id = parse_id(text)
    if id is None or not ctx.caller.may_touch(id):
        _no_twin()
    return id


def _no_twin() -> NoReturn:
    raise HubError("RESOURCE_NOT_FOUND", "There is no twin with this id")


def _moment(moment: Any) -> str | None:
    return None if moment is None else rfc3339(moment)
