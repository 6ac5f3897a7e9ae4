"""The one path of every operation, whichever door it came through: limit, scope, input, idempotency, transaction, audit.

A write takes four round trips to PostgreSQL: BEGIN with the organisation, the handler's statement, one finish for events and audit,
COMMIT. A read takes one, or shares one with others (core/store/reads.py). After the commit the relay is poked; events never leave
before.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from pydantic import BaseModel, TypeAdapter

from core.auth.caller import Caller
from core.auth.limiter import Limiter
from core.clock import Clock
from core.errors import HubError
from core.events.event import NewEvent, new_event
from core.ids import new_id, parse_id
from core.operations.audit import Access, AuditTrail
from core.operations.deadlines import Deadlines
from core.operations.idempotency import SQL, Claim, IdempotencyKeys, Key, Stored, first_result
from core.operations.operation import Operation
from core.operations.results import Document
from core.operations.timings import Timings
from core.operations.validation import validated
from core.quota import Quota
from core.store.database import Database
from core.store.reads import LookUps, Reads
from core.store.statements import Statements

# A claim of an operation of several steps outlives its deadline by this much, and no longer.
CLAIM_GRACE_SECONDS = 5.0

# What the limit says to one run of an operation; it never raises.
Admission = asyncio.Future[Quota]


@dataclass(eq=False, slots=True)
class Outcome:
    """What a run gave: the result, the last event that it emitted, whether it was kept from an earlier run, and the limit.

    The runner alone changes it, to set `quota`.
    """

    result: Any
    event_id: UUID | None = None
    replayed: bool = False
    quota: Quota | None = None


@dataclass(eq=False, slots=True)
class _Run:
    """One run of one operation; to its handler it is the Context."""

    operation: Operation
    caller: Caller
    request_id: str
    now: datetime
    deadline: float
    target: str | None
    key: Key | None
    claim: Claim | None = None
    opener: Callable[[], AbstractAsyncContextManager[Statements]] | None = None
    statements: Statements | None = None
    pending: list[NewEvent] | None = None
    last_event: UUID | None = None
    audit_id: UUID | None = None
    quota: Quota | None = None

    @property
    def db(self) -> Statements:
        if self.statements is None:
            raise RuntimeError(f"{self.operation.name} has no transaction open")
        return self.statements

    async def look_up(self, query: str, id: UUID) -> Any:
        db = self.db
        return await (db.look_up(query, id) if isinstance(db, Reads) else db.fetchrow(query, [id]))

    def transaction(self) -> AbstractAsyncContextManager[Statements]:
        if self.opener is None:
            raise RuntimeError(f"{self.operation.name} does not open transactions itself")
        return self.opener()

    def emit(self, type: str, subject: str, data: str, *, short: str | None = None) -> UUID:
        if self.pending is None:
            raise RuntimeError("an event is emitted inside a transaction, or not at all")
        event_id = new_id()
        self.pending.append(
            new_event(event_id=event_id, type=type, subject=subject, time=self.now, data=data, short=short)
        )
        self.last_event = event_id
        self.target = self.target or subject
        return event_id


class Runner:
    """Runs operations. `poke` is called after each commit that left events in the outbox."""

    def __init__(
        self,
        database: Database,
        trail: AuditTrail,
        clock: Clock,
        poke: Callable[[], None],
        limiter: Limiter,
        keys: IdempotencyKeys,
        timings: Timings | None = None,
    ) -> None:
        self._keys = keys
        self._timings = timings or Timings()
        self._database = database
        self._trail = trail
        self._clock = clock
        self._poke = poke
        self._deadlines = Deadlines()
        self._limiter = limiter
        self._look_ups = LookUps(database)

    def admit(self, operation: Operation, caller: Caller, *, by_grace: bool = False) -> Admission:
        """Count a run of `operation` in the limit of the caller's organisation, before `run`, which waits for what this returns.

        A door that reads a body, or parses much, does so first, and looks at the answer before; `run` counts by itself where it is
        given none. `by_grace`: over the limit a cheap answer may still be given, see Quota.
        """
        return self._limiter.ask(caller.org_id, caller.limits, operation.weight, by_grace=by_grace)

    async def run(
        self,
        operation: Operation,
        caller: Caller,
        input: Mapping[str, Any],
        *,
        request_id: str,
        idempotency_key: str | None = None,
        deadline_seconds: float = 30.0,
        admission: Admission | None = None,
    ) -> Outcome:
        """Run `operation` for `caller`; `admission` is what `admit` returned for this run.

        Raises HubError for every refusal, TIMEOUT among them. Anything else that it raises is a bug of the hub.
        """
        if admission is None:
            admission = self.admit(operation, caller)
        run = _Run(
            operation=operation,
            caller=caller,
            request_id=request_id,
            now=self._clock.now(),
            deadline=self._clock.monotonic() + deadline_seconds,
            target=_target(operation, input),
            key=None,
        )
        began, ended = self._clock.monotonic(), "CANCELLED"
        try:
            if operation.transaction == "read" and self._limiter.has_plenty(caller.org_id):
                outcome = await self._read_at_once(run, admission, input, deadline_seconds)
            else:
                run.quota = await admission
                check(run.quota)
                outcome = await self._run(run, input, idempotency_key, deadline_seconds)
            outcome.quota, ended = run.quota, "ok"
            if operation.transaction == "read":
                self._note(run, ended)
        except HubError as error:
            ended, error.quota = error.code, run.quota
            # A refusal that only repeats the last one leaves no trace but in the metrics: a flood of them costs nothing.
            if run.quota is None or not run.quota.is_repeated:
                self._note(run, ended)
            raise
        except Exception:
            ended = "INTERNAL_ERROR"
            raise
        finally:
            self._timings.note(operation.name, ended, self._clock.monotonic() - began)
        return outcome

    async def _read_at_once(
        self, run: _Run, admission: Admission, input: Mapping[str, Any], deadline_seconds: float
    ) -> Outcome:
        """Read while the limit is asked, which says yes most likely; a no is one, whatever was read."""
        try:
            outcome = await self._run(run, input, None, deadline_seconds)
        except Exception:
            run.quota = await admission
            check(run.quota)
            raise
        run.quota = await admission
        check(run.quota)
        return outcome

    async def _run(
        self, run: _Run, input: Mapping[str, Any], idempotency_key: str | None, deadline_seconds: float
    ) -> Outcome:
        operation = run.operation
        if operation.scope is not None and operation.scope not in run.caller.scopes:
            raise HubError("INSUFFICIENT_SCOPE", f"This needs the scope {operation.scope}")
        data = validated(operation.input, input)
        if idempotency_key is not None and operation.takes_key:
            run.key = self._keys.of(operation, idempotency_key, data, run.caller)
        try:
            with self._deadlines.within(deadline_seconds):
                return await self._dispatch(run, data)
        except TimeoutError as error:
            raise HubError("TIMEOUT") from error

    async def _dispatch(self, run: _Run, data: BaseModel) -> Outcome:
        match run.operation.transaction:
            case "read":
                return await self._read(run, data)
            case "write":
                return await self._write(run, data)
            case "none":
                return await self._in_steps(run, data)

    async def _read(self, run: _Run, data: BaseModel) -> Outcome:
        run.statements = Reads(self._database, self._look_ups, run.caller.org_id)
        return Outcome(await run.operation.handler(run, data))

    async def _write(self, run: _Run, data: BaseModel) -> Outcome:
        async with self._database.transaction(run.caller.org_id) as db:
            if run.key is not None:
                stored = await first_result(db, run.key)
                if stored is not None:
                    return self._replay(run, stored)
            run.statements, run.pending, run.audit_id = db, [], new_id()
            result = await run.operation.handler(run, data)
            if run.target is None and isinstance(result, Document):
                run.target = f"{result.kind}/{result.id}"
            await _finish(run, db, run.pending, key=run.key, result=result, ends=True)
        if run.pending:
            self._poke()
        return Outcome(result, run.last_event)

    async def _in_steps(self, run: _Run, data: BaseModel) -> Outcome:
        """Run an operation that opens its own transactions; its key is claimed before the first and resolved in a last one."""
        run.opener = lambda: self._step(run)
        if run.key is not None:
            stored = await self._claim(run, run.key)
            if stored is not None:
                return self._replay(run, stored)
        try:
            result = await run.operation.handler(run, data)
        except BaseException as error:
            await self._give_up(run, error)
            raise
        await self._end(run, result)
        return Outcome(result, run.last_event)

    async def _claim(self, run: _Run, key: Key) -> Stored | None:
        """Take the key in a transaction of its own: what the operation does first may be no transaction."""
        seconds = run.deadline - self._clock.monotonic() + CLAIM_GRACE_SECONDS
        async with self._database.transaction(run.caller.org_id) as db:
            stored = await first_result(db, key)
            claim = None if stored is not None else await Claim.take(db, key, seconds)
        run.claim = claim
        return stored

    async def _end(self, run: _Run, result: Any) -> None:
        """Keep the result and end the audit, where there is something to keep or to end."""
        if run.claim is not None or run.audit_id is not None:
            async with self._database.transaction(run.caller.org_id) as db:
                if run.claim is not None:
                    await run.claim.resolve(db, _written(run, result), run.last_event)
                if run.audit_id is not None:
                    await _finish(run, db, [], ends=True)
        self._note(run, "ok")

    @asynccontextmanager
    async def _step(self, run: _Run) -> AsyncGenerator[Statements]:
        first = run.audit_id is None
        async with self._database.transaction(run.caller.org_id) as db:
            if run.claim is not None:
                await run.claim.hold(db)
            pending: list[NewEvent] = []
            run.statements, run.pending = db, pending
            try:
                yield db
            finally:
                run.statements = run.pending = None
            run.audit_id = run.audit_id or new_id()
            await _finish(run, db, pending, started=first)
        if pending:
            self._poke()

    async def _give_up(self, run: _Run, error: BaseException) -> None:
        """Say in the audit how a started operation ended, and give its key back, so that it can be tried again."""
        if not isinstance(error, HubError) or (run.claim is None and run.audit_id is None):
            return
        async with self._database.transaction(run.caller.org_id) as db:
            if run.claim is not None:
                await run.claim.drop(db)
            if run.audit_id is not None:
                await db.execute("UPDATE audit SET outcome = $2 WHERE id = $1", run.audit_id, error.code)

    def _replay(self, run: _Run, stored: Stored) -> Outcome:
        self._note(run, "replayed")
        result = _adapter(run.operation).validate_json(stored.result)
        return Outcome(result, stored.event_id, replayed=True)

    def _note(self, run: _Run, outcome: str) -> None:
        """Note a read or a refusal. What began a write has its row in the transaction, unless that was refused."""
        if run.audit_id is not None and run.operation.transaction == "none":
            return
        caller = run.caller
        self._trail.note(
            Access(caller.org_id, run.now, caller.subject, run.operation.name, run.target, run.request_id, outcome)
        )


async def _finish(
    run: _Run,
    db: Statements,
    events: Sequence[NewEvent],
    *,
    key: Key | None = None,
    result: Any = None,
    started: bool = False,
    ends: bool = False,
) -> None:
    columns = zip(*((e.id, e.type, e.subject, e.channel, e.time, e.envelope, e.short) for e in events), strict=True)
    lists = [list(column) for column in columns] or [[]] * 7
    await db.execute(
        SQL["finish"],
        *lists,
        run.now,
        run.audit_id if started or ends else None,
        run.caller.subject,
        run.operation.name,
        run.target,
        key.name if key else None,
        key.input_hash if key else None,
        key.seal(_written(run, result)) if key else None,
        run.last_event if key else None,
        run.request_id,
        "started" if started else "ok",
    )


def check(quota: Quota) -> None:
    """Raise HubError RATE_LIMIT_EXCEEDED where the limit has refused; the grace share passes."""
    if quota.retry_after is not None and not quota.is_grace:
        raise over_limit(quota)


def over_limit(quota: Quota) -> HubError:
    """Return the refusal."""
    return HubError("RATE_LIMIT_EXCEEDED", retry_after=quota.retry_after, quota=quota)


def _written(run: _Run, result: Any) -> str:
    return _adapter(run.operation).dump_json(result).decode()


@cache
def _adapter(operation: Operation) -> TypeAdapter[Any]:
    return TypeAdapter(operation.result)


def _target(operation: Operation, input: Mapping[str, Any]) -> str | None:
    """Name what an operation touches, where its input has an id that is one."""
    named = input.get("id")
    id = parse_id(named) if isinstance(named, str) else None
    return None if id is None else f"{operation.name.partition('.')[0]}/{id}"
