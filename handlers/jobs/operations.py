"""What can be done with the organisation's jobs. They are made by the operations that need them, not here."""

from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from core.auth.caller import ADMIN_SCOPE
from core.clock import rfc3339
from core.errors import HubError
from core.ids import parse_id
from core.jobs.jobs import Jobs
from core.operations.context import Context
from core.operations.operation import Operation, operation, operations_of
from core.operations.results import Page, Shown
from core.store.queries import load_queries
from handlers.jobs.models import Job, ListJobs
from handlers.lists.lister import MOST_COUNTED, page_of
from handlers.resources.models import GetInput

_SQL = load_queries(Path(__file__).with_name("queries.sql"))
_TIMES = ("run_at", "cancel_requested_at", "created_at", "started_at", "finished_at")
_DOCUMENTS = ("progress", "result", "error")


class JobOperations:
    """The jobs of the caller's organisation. What a job was given is not shown: it is its maker's."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return operations_of(self)

    @operation("jobs.list", scope=ADMIN_SCOPE, transaction="read", input=ListJobs, result=Page, shows=Job)
    async def list(self, ctx: Context, wanted: ListJobs) -> Page:
        """List jobs, newest first."""
        _check(ctx)
        first = (wanted.page - 1) * wanted.per_page
        rows = await ctx.db.fetch(_SQL["list"], wanted.per_page, first, wanted.kind, wanted.status, MOST_COUNTED + 1)
        items = [_text(row) for row in rows if row["id"] is not None]
        total = rows[0]["total"]
        return page_of(items, wanted.page, wanted.per_page, total)

    @operation("jobs.get", scope=ADMIN_SCOPE, transaction="read", input=GetInput, result=Shown, shows=Job)
    async def get(self, ctx: Context, wanted: GetInput) -> Shown:
        """Look at one job."""
        return Shown(_text(await _find(ctx, wanted)))

    @operation("jobs.cancel", scope=ADMIN_SCOPE, transaction="write", input=GetInput, result=Shown, shows=Job)
    async def cancel(self, ctx: Context, wanted: GetInput) -> Shown:
        """End a job: one that waits at once, one that runs within seconds; one that has ended stays as it is."""
        found = await _find(ctx, wanted)
        row = await ctx.db.fetchrow(_SQL["cancel"], found["id"], ctx.now)
        if row is None:
            found = await _find(ctx, wanted)
            if found["status"] != "cancelled":
                raise HubError("RESOURCE_CONFLICT", f"The job is {found['status']} already")
            return Shown(_text(found))
        ctx.after_commit(self._jobs.poke)
        return Shown(_text(row))


def _check(ctx: Context) -> None:
    if ctx.caller.resource_ids is not None:
        raise HubError("FORBIDDEN", "This credential is for some resources only; jobs are of the whole organisation")


async def _find(ctx: Context, wanted: GetInput) -> Any:
    _check(ctx)
    id = parse_id(wanted.id)
    row = None if id is None else await ctx.db.fetchrow(_SQL["find"], id)
    if row is None:
        raise HubError("RESOURCE_NOT_FOUND", "There is no job with this id")
    return row


def _text(row: Any) -> str:
    body: dict[str, Any] = {"id": str(row["id"])}
    body |= {name: row[name] for name in ("kind", "status", "priority", "attempts", "max_attempts")}
    body |= {name: None if row[name] is None else orjson.Fragment(row[name]) for name in _DOCUMENTS}
    body |= {name: _moment(row[name]) for name in _TIMES}
    return orjson.dumps(body).decode()


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)
