"""The one path of every operation, whichever door it came through: limit, scope, input, idempotency, transaction, audit.

What only writes takes one round trip to PostgreSQL: the handler's statement joined with the one for events and audit, which is a
transaction by itself. What is asked before costs one each, and BEGIN and COMMIT (core/store/joined.py). A read takes one, or
shares one with others (core/store/reads.py). After the commit the relay is poked; events never leave before.
"""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from pydantic import BaseModel

from core.auth.caller import Caller
from core.auth.limiter import Limiter
from core.clock import Clock
from core.errors import HubError
from core.events.event import NewEvent
from core.ids import new_id
from core.operations.audit import Access, AuditTrail
from core.operations.deadlines import Deadlines
from core.operations.idempotency import Claim, IdempotencyKeys, Key, Stored, first_result
from core.operations.operation import Operation
from core.operations.run import Admission, Endings, Joint, Outcome, Run, finish, target_of
from core.operations.timings import Timings
from core.operations.validation import validated
from core.quota import Quota
from core.store.database import Database, reachable
from core.store.reads import LookUps, Reads
from core.store.statements import Statements

# A claim of an operation of several steps outlives its deadline by this much, and no longer.
CLAIM_GRACE_SECONDS = 5.0
# What is only tried gives up where it would wait for another's lock, in seconds.
TRIAL_PATIENCE = 0.05


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
        """Count a run, as Runs says."""
        return self.count(caller, operation.weight, by_grace=by_grace)

    def count(self, caller: Caller, weight: int = 1, *, by_grace: bool = False) -> Admission:
        """Count what is no run yet, as much as `weight` requests."""
        return self._limiter.ask(caller.org_id, caller.limits, weight, by_grace=by_grace)

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
        within: Joint | None = None,
    ) -> Outcome:
        """Run `operation` for `caller`, as Runs says; with `within` in a transaction of several, whose deadline holds."""
        if admission is None:
            admission = self.admit(operation, caller)
        run = Run(
            operation=operation,
            caller=caller,
            request_id=request_id,
            now=self._clock.now(),
            deadline=self._clock.monotonic() + deadline_seconds,
            target=target_of(operation, input),
            within=within,
        )
        began, ended = self._clock.monotonic(), "CANCELLED"
        try:
            if operation.transaction == "read" and within is None and self._limiter.has_plenty(caller.org_id):
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
            note = partial(self._timings.note, operation.name, ended, self._clock.monotonic() - began)
            _at_once_or_with(within, note)
        return outcome

    @asynccontextmanager
    async def joint(self, caller: Caller, seconds: float, *, is_trial: bool = False) -> AsyncGenerator[Joint]:
        """Open one transaction for several runs of `caller`: at the end all of them are committed, on any error none.

        Together they have `seconds`. Raises HubError, also where the commit fails; what was undone so is in the audit, unless it
        `is_trial`.
        """
        joint = None
        is_done = False
        try:
            with self._deadlines.within(seconds):
                # The deadline is around the transaction: a connection whose statement it cancelled is closed.
                async with self._database.joined(caller.org_id, patience=TRIAL_PATIENCE if is_trial else None) as db:
                    joint = Joint(db, is_trial)
                    yield joint
                    if joint.writes:
                        await joint.endings.write(db)
            is_done = True
        except TimeoutError as error:
            raise HubError("TIMEOUT") from error
        finally:
            if joint is not None:
                self._end_joint(joint, is_done=is_done)

    def _end_joint(self, joint: Joint, *, is_done: bool) -> None:
        """Note what is to be noted; where it is done, its events can go."""
        if is_done:
            for note in joint.notes:
                note()
            if any(run.pending for run in joint.writes):
                self._poke()
            for run in joint.writes:
                run.committed()
        elif not joint.is_trial or joint.db.may_be_committed:
            for run in joint.writes:
                self._trail.note(_access(run, "FAILED_DEPENDENCY"))

    async def _read_at_once(
        self, run: Run, admission: Admission, input: Mapping[str, Any], deadline_seconds: float
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
        self, run: Run, input: Mapping[str, Any], idempotency_key: str | None, deadline_seconds: float
    ) -> Outcome:
        operation = run.operation
        if operation.scope is not None and operation.scope not in run.caller.scopes:
            raise HubError("INSUFFICIENT_SCOPE", f"This needs the scope {operation.scope}")
        data = validated(operation.input, input)
        if idempotency_key is not None and operation.takes_key:
            run.key = self._keys.of(operation, idempotency_key, data, run.caller)
        if run.within is not None:
            with reachable():
                return await self._join(run, run.within, data)
        try:
            with self._deadlines.within(deadline_seconds):
                return await self._dispatch(run, data)
        except TimeoutError as error:
            raise HubError("TIMEOUT") from error

    async def _dispatch(self, run: Run, data: BaseModel) -> Outcome:
        match run.operation.transaction:
            case "read":
                return await self._read(run, data)
            case "write":
                return await self._write(run, data)
            case "none":
                return await self._in_steps(run, data)

    async def _read(self, run: Run, data: BaseModel) -> Outcome:
        run.statements = Reads(self._database, self._look_ups, run.caller.org_id)
        return Outcome(await run.operation.handler(run, data))

    async def _write(self, run: Run, data: BaseModel) -> Outcome:
        async with self._database.joined(run.caller.org_id) as db:
            outcome = await self._write_in(run, db, data)
        if run.pending:
            self._poke()
        run.committed()
        return outcome

    async def _write_in(self, run: Run, db: Statements, data: BaseModel) -> Outcome:
        if run.key is not None:
            stored = await first_result(db, run.key)
            if stored is not None:
                return self._replay(run, stored)
        run.statements, run.pending, run.audit_id = db, [], new_id()
        result = await run.operation.handler(run, data)
        run.name_target(result)
        endings = Endings() if run.within is None else run.within.endings
        endings.add(run, run.pending, key=run.key, result=result, ends=True)
        if run.within is None:
            await endings.write(db)
        return Outcome(result, run.last_event)

    async def _join(self, run: Run, joint: Joint, data: BaseModel) -> Outcome:
        match run.operation.transaction:
            case "read":
                run.statements = joint.db
                return Outcome(await run.operation.handler(run, data))
            case "write":
                if run.key is not None and joint.endings.holds(run.key):
                    await joint.endings.write(joint.db)  # it repeats one of this transaction
                outcome = await self._write_in(run, joint.db, data)
                joint.writes.append(run)
                return outcome
            case "none":
                raise RuntimeError(f"{run.operation.name} runs outside one transaction")

    async def _in_steps(self, run: Run, data: BaseModel) -> Outcome:
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
        run.name_target(result)
        await self._end(run, result)
        return Outcome(result, run.last_event)

    async def _claim(self, run: Run, key: Key) -> Stored | None:
        """Take the key in a transaction of its own: what the operation does first may be no transaction."""
        seconds = run.deadline - self._clock.monotonic() + CLAIM_GRACE_SECONDS
        async with self._database.transaction(run.caller.org_id) as db:
            stored = await first_result(db, key)
            claim = None if stored is not None else await Claim.take(db, key, seconds)
        run.claim = claim
        return stored

    async def _end(self, run: Run, result: Any) -> None:
        """Keep the result and end the audit, where there is something to keep or to end."""
        if run.claim is not None or run.audit_id is not None:
            async with self._database.transaction(run.caller.org_id) as db:
                if run.claim is not None:
                    await run.claim.resolve(db, run.written(result), run.last_event)
                if run.audit_id is not None:
                    await finish(run, db, [], ends=True)
        self._note(run, "ok")

    @asynccontextmanager
    async def _step(self, run: Run) -> AsyncGenerator[Statements]:
        first = run.audit_id is None
        async with self._database.transaction(run.caller.org_id) as db:
            if run.claim is not None:
                await run.claim.hold(db)
            pending: list[NewEvent] = []
            run.statements, run.pending, run.after = db, pending, []
            try:
                yield db
            finally:
                run.statements = run.pending = None
            run.audit_id = run.audit_id or new_id()
            await finish(run, db, pending, started=first)
        if pending:
            self._poke()
        run.committed()

    async def _give_up(self, run: Run, error: BaseException) -> None:
        """Say in the audit how a started operation ended, and give its key back, so that it can be tried again."""
        if not isinstance(error, HubError) or (run.claim is None and run.audit_id is None):
            return
        async with self._database.transaction(run.caller.org_id) as db:
            if run.claim is not None:
                await run.claim.drop(db)
            if run.audit_id is not None:
                await db.execute("UPDATE audit SET outcome = $2 WHERE id = $1", run.audit_id, error.code)

    def _replay(self, run: Run, stored: Stored) -> Outcome:
        self._note(run, "replayed")
        return Outcome(run.read(stored.result), stored.event_id, replayed=True)

    def _note(self, run: Run, outcome: str) -> None:
        """Note a read or a refusal. What began a write has its row in the transaction, unless that was refused."""
        if run.audit_id is not None and run.operation.transaction == "none":
            return
        _at_once_or_with(run.within, partial(self._trail.note, _access(run, outcome)))


def _access(run: Run, outcome: str) -> Access:
    caller = run.caller
    return Access(caller.org_id, run.now, caller.subject, run.operation.name, run.target, run.request_id, outcome)


def _at_once_or_with(joint: Joint | None, note: Callable[[], None]) -> None:
    """Note now; what belongs to a trial, once that is done."""
    if joint is not None and joint.is_trial:
        joint.notes.append(note)
    else:
        note()


def check(quota: Quota) -> None:
    """Raise HubError RATE_LIMIT_EXCEEDED where the limit has refused; the grace share passes."""
    if quota.retry_after is not None and not quota.is_grace:
        raise over_limit(quota)


def over_limit(quota: Quota) -> HubError:
    """Return the refusal."""
    return HubError("RATE_LIMIT_EXCEEDED", retry_after=quota.retry_after, quota=quota)
