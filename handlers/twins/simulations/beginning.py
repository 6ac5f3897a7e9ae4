"""How simulations come to be: what is to be run is settled and checked, then the row and its job are written in one transaction."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NoReturn
from uuid import UUID

import orjson

from core.errors import HubError
from core.ids import new_id
from core.jobs.jobs import Jobs
from core.operations.context import Context
from core.operations.results import Document
from core.store.statements import Statements
from handlers.lasting.told import emit_in
from handlers.twins.simulation.scenarios import Built, built
from handlers.twins.simulation.size import check_size
from handlers.twins.simulations import ending
from handlers.twins.simulations.ending import KIND
from handlers.twins.simulations.models import Wanted
from handlers.twins.simulations.store import SQL, document, find, find_whole

# Drawn seeds are short enough to be written down.
_SEEDS = 2**31


@dataclass(frozen=True, slots=True)
class New:
    """What a simulation is made of. `key`: of a tool's call, which begins one, however often it is tried."""

    twin_id: UUID
    version: int
    built: Built
    wanted: Wanted
    created_by: str
    now: datetime
    deadline: datetime
    branch_id: UUID | None = None
    key: str | None = None


class Simulations:
    """Begins and ends simulations, in the transaction that an operation has open. `announce` wakes whoever tells of ends."""

    def __init__(self, jobs: Jobs, announce: Callable[[], None]) -> None:
        self._jobs = jobs
        self._announce = announce

    async def begin_on_twin(self, ctx: Context, twin_id: UUID, wanted: Wanted) -> Document:
        """Make a simulation of a twin as it is, queued. Raises HubError RESOURCE_NOT_FOUND where the caller has no such twin,
        and as `begin`."""
        row = await ctx.db.fetchrow(SQL["twin"], twin_id) if ctx.caller.may_touch(twin_id) else None
        if row is None:
            no_twin()
        return await self.begin(ctx, twin_id, orjson.loads(row["document"]), row["version"], wanted)

    async def begin(
        self,
        ctx: Context,
        twin_id: UUID,
        document_: Mapping[str, Any],
        version: int,
        wanted: Wanted,
        branch_id: UUID | None = None,
    ) -> Document:
        """Make a simulation of a document, queued: `version` of the twin's, or of a branch's.

        The caller has seen to it that the twin is there and may be touched. Raises HubError VALIDATION_ERROR with what is wrong.
        """
        plan = built(document_, wanted.scenario, wanted.parameters, horizon=wanted.horizon)
        deadline = ctx.now + timedelta(seconds=wanted.deadline)
        new = New(twin_id, version, plan, wanted, ctx.caller.subject, ctx.now, deadline, branch_id)
        made = await insert(ctx.db, self._jobs, ctx.caller.org_id, new)
        ctx.after_commit(self._jobs.poke)
        return document(made)

    async def cancel(self, ctx: Context, id: str) -> Document:
        """End a simulation as cancelled; one that has ended stays as it is. Returns it."""
        found = await find(ctx.db, ctx.caller, id)
        ended = await ending.cancel(ctx.db, self._jobs, ctx.caller.org_id, found["id"], ctx.now)
        if ended is None:
            return document(await find_whole(ctx.db, ctx.caller, id))
        emit_in(ctx, [ended.told])
        ctx.after_commit(self._jobs.poke)
        ctx.after_commit(self._announce)
        return document(ended.row)


async def insert(db: Statements, jobs: Jobs, org_id: UUID, new: New) -> Any:
    """Write a simulation and its job; returns the row, that of before where its key has one.

    Raises HubError VALIDATION_ERROR, at `runs`, where it would hold too much (check_size).
    """
    wanted, plan = new.wanted, new.built
    check_size(plan, wanted.runs, baseline=wanted.baseline)
    id = new_id()
    row = await db.fetchrow(
        SQL["insert"],
        id,
        new.twin_id,
        new.branch_id,
        new.version,
        wanted.scenario,
        orjson.dumps(plan.parameters).decode(),
        plan.model_dump_json(),
        wanted.baseline,
        orjson.dumps(plan.notes).decode(),
        plan.horizon,
        plan.case.model.time_unit,
        wanted.runs,
        secrets.randbelow(_SEEDS) if wanted.seed is None else wanted.seed,
        wanted.runs * (1 + wanted.baseline),
        new.key,
        new.created_by,
        new.now,
        new.deadline,
    )
    if row is None:
        return await db.fetchrow(SQL["of_key"], new.key)
    await jobs.enqueue(db, org_id, KIND, {"simulation": str(id)}, key=str(id))
    return row


def no_twin() -> NoReturn:
    """Raise HubError RESOURCE_NOT_FOUND."""
    raise HubError("RESOURCE_NOT_FOUND", "There is no twin with this id")
