"""Twins' data is kept like its source: what is due is swept into jobs, one for each twin; a job fetches, then writes.

A run fetches with no transaction open. It writes in the job's last transaction, as the source was when it was asked: where the twin
has another by then, nothing is written and that one is asked next. A worker that dies leaves nothing; the next asks again.

Locks are taken in this order: the job, the twin, its synchronisation.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

import orjson

from core.clock import Clock, rfc3339
from core.errors import HubError
from core.jobs.jobs import Jobs
from core.jobs.kind import JobKind, RetryPolicy
from core.jobs.run import JobRun
from core.store.database import Database
from handlers.resources.models import UpdateInput
from handlers.resources.unattended import Unattended
from handlers.twins.comparing import same
from handlers.twins.operations import Twins
from handlers.twins.sync.following import SQL
from handlers.twins.sync.schedule import next_time, put_off
from handlers.twins.sync.sources import Fetched, NotFetched, Source, shown_by

SYNC = "twins.sync"
DUE_A_SWEEP = 500
# Of a streak of failures, the first is told, and each of so many.
TOLD_FAILURES = 10
# What a twin that was to become something else is refused by; nothing of that transaction is there.
_REFUSALS = frozenset({"PAYLOAD_TOO_LARGE", "VALIDATION_ERROR"})
_CONCURRENCY = 16
# Four answers of half a minute, and the writing.
_MOST_SECONDS = 150.0
_RETRY = RetryPolicy(attempts=5, first_seconds=1.0)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a source was asked for, and what came of it: `fetched` None where it has not changed, or `error`."""

    org_id: UUID
    twin_id: UUID
    source: str
    fetched: Fetched | None = None
    error: tuple[str, str] | None = None


@dataclass
class Synchronisation:
    """Does the jobs. `sources` are the kinds of sources, by name; `poke` wakes the relay after events."""

    database: Database
    jobs: Jobs
    twins: Twins
    sources: Mapping[str, Source]
    clock: Clock
    poke: Callable[[], None]
    kind: JobKind = field(init=False)

    def __post_init__(self) -> None:
        """Make its kind."""
        self.kind = JobKind(SYNC, self.synchronise, _RETRY, concurrency=_CONCURRENCY, most_seconds=_MOST_SECONDS)

    async def sweep(self) -> int:
        """Make jobs for what is due; returns how many twins that were. Times that nobody was there for are made up for once."""
        now = self.clock.now()
        async with self.database.unbound() as db:
            found = await db.fetch(SQL["due"], now, DUE_A_SWEEP)
        for row in found:
            await self._enqueue(row["org_id"], row["twin_id"], now)
        if found:
            self.jobs.poke()
        return len(found)

    async def synchronise(self, run: JobRun) -> None:
        """Fetch a twin's data, and write what is new."""
        asked = await self._ask(_org_of(run), UUID(run.payload["twin_id"]))
        if asked is None:
            return  # there is nothing to fetch any more
        if asked.error is None:
            try:
                await self._finish(run, asked)
                return
            except (HubError, NotFetched) as refusal:
                asked = _Asked(asked.org_id, asked.twin_id, asked.source, error=_told(refusal))
        await self._finish(run, asked)

    async def _enqueue(self, org_id: UUID, twin_id: UUID, now: datetime) -> None:
        async with self.database.transaction(org_id) as db:
            schedule = await db.fetchval(SQL["schedule"], twin_id, now)
            if schedule is None:
                return
            # The job before its plan: who ends a job holds it, and then wants the plan.
            id = str(twin_id)
            await self.jobs.enqueue(db, org_id, SYNC, {"twin_id": id}, key=id)
            await db.execute(SQL["enqueued"], twin_id, now, next_time(schedule, twin_id, now))

    async def _ask(self, org_id: UUID, twin_id: UUID) -> _Asked | None:
        async with self.database.read(org_id) as db:
            row = await db.fetchrow(SQL["find"], twin_id)
        if row is None:
            return None
        settings = orjson.loads(row["source"])
        # A source that says "unchanged" means what it gave last: a twin that was changed since needs it again.
        is_kept = row["digest"] == digest(orjson.loads(row["document"]).get("data"))
        try:
            source = self.sources[settings["kind"]]
            fetched = await source.fetch(settings, row["validators"] if is_kept else None)
        except NotFetched as error:
            return _Asked(org_id, twin_id, row["source"], error=(error.code, str(error)))
        return _Asked(org_id, twin_id, row["source"], fetched)

    async def _finish(self, run: JobRun, asked: _Asked) -> None:
        async with run.finishing() as db:
            ctx = Unattended(db, asked.org_id, self.clock.now(), str(run.id), self.clock.monotonic() + _MOST_SECONDS)
            twin = await db.fetchrow(SQL["hold_twin"], asked.twin_id)
            held = None if twin is None else await db.fetchrow(SQL["hold"], asked.twin_id)
            if held is None:
                return
            if held["source"] != asked.source:
                await db.execute(SQL["again"], asked.twin_id, ctx.now)
            elif asked.error is not None:
                await self._failed(ctx, asked, held)
            else:
                await self._succeeded(ctx, asked, held, twin)
            await ctx.finish()
        ctx.committed()
        self.poke()

    async def _succeeded(self, ctx: Unattended, asked: _Asked, held: Any, twin: Any) -> None:
        before, version = orjson.loads(twin["document"]).get("data"), twin["version"]
        after, validators = before, held["validators"]
        if asked.fetched is not None:
            after = shown_by(orjson.loads(asked.source), before, asked.fetched.value)
            validators = asked.fetched.validators
        is_changed = not same(before, after)
        if is_changed:
            # As an operation of a patch: as a merge patch, nulls within would take members out.
            patch = [{"op": "add", "path": "/data", "value": after}]
            change = UpdateInput.model_validate({"id": str(asked.twin_id), "patch": patch})
            version = (await self.twins.update(ctx, change)).version
        outcome = "changed" if is_changed else "unchanged"
        await ctx.write(SQL["succeeded"], asked.twin_id, ctx.now, outcome, validators, digest(after))
        if is_changed or held["failures"] or held["outcome"] is None:
            told = {"twin_id": str(asked.twin_id), "is_changed": is_changed, "version": version}
            told |= {"failures": held["failures"], "at": rfc3339(ctx.now)}
            ctx.emit("twin.synchronised", f"twins/{asked.twin_id}", orjson.dumps(told).decode())

    async def _failed(self, ctx: Unattended, asked: _Asked, held: Any) -> None:
        failures, next_at = held["failures"] + 1, None
        if held["schedule"] is not None:
            next_at = put_off(next_time(held["schedule"], asked.twin_id, ctx.now), failures, ctx.now)
        code, message = asked.error or ("INTERNAL_ERROR", "")
        error = {"code": code, "message": message}
        await ctx.write(SQL["failed"], asked.twin_id, ctx.now, orjson.dumps(error).decode(), next_at)
        if failures == 1 or failures % TOLD_FAILURES == 0:
            told = {"twin_id": str(asked.twin_id), "error": error, "failures": failures}
            told |= {"next_at": None if next_at is None else rfc3339(next_at), "at": rfc3339(ctx.now)}
            ctx.emit("twin.sync.failed", f"twins/{asked.twin_id}", orjson.dumps(told).decode())


def _told(refusal: HubError | NotFetched) -> tuple[str, str]:
    """Return why the twin may not become what was fetched; raises what says nothing of that, and the job is tried again."""
    if isinstance(refusal, NotFetched):
        return refusal.code, str(refusal)
    if refusal.code not in _REFUSALS:
        raise refusal
    details = "; ".join(f"{each.field}: {each.message}" for each in refusal.details[:3])
    return refusal.code, details or refusal.text


def digest(data: Any) -> bytes:
    """Return what tells data from others."""
    return sha256(orjson.dumps(data, option=orjson.OPT_SORT_KEYS)).digest()


def _org_of(run: JobRun) -> UUID:
    if run.org_id is None:
        raise ValueError("a synchronisation is of an organisation")
    return run.org_id
