"""One run of an operation: what its handler is given, what it gives, and the statement that ends a write.

Run        the Context of one handler, with what the runner keeps beside it
Endings    what ends writes, in one statement
Joint      the transaction that several runs share
Outcome    result, event, replayed or not
Runs       what runs operations: the Runner, each by itself; Together, several in one transaction
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, Protocol
from uuid import UUID

from pydantic import TypeAdapter

from core.auth.caller import Caller
from core.events.event import NewEvent, new_event
from core.ids import new_id, parse_id
from core.operations.idempotency import SQL, Claim, Key
from core.operations.operation import Operation
from core.operations.results import Deleted, Document
from core.quota import Quota
from core.store.joined import Joined
from core.store.reads import Reads
from core.store.statements import Statements

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


class Runs(Protocol):
    """What runs operations for a caller."""

    def admit(self, operation: Operation, caller: Caller, *, by_grace: bool = False) -> Admission:
        """Count a run of `operation` in the limit of the caller's organisation, before `run`, which waits for what this returns.

        A door that reads a body, or parses much, does so first, and looks at the answer before; `run` counts by itself where it is
        given none. `by_grace`: over the limit a cheap answer may still be given, see Quota.
        """
        ...

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
        ...


@dataclass(eq=False, slots=True)
class Run:
    """One run of one operation; to its handler it is the Context. `within`: the transaction that it shares."""

    operation: Operation
    caller: Caller
    request_id: str
    now: datetime
    deadline: float
    target: str | None
    within: "Joint | None" = None
    key: Key | None = None
    claim: Claim | None = None
    opener: Callable[[], AbstractAsyncContextManager[Statements]] | None = None
    statements: Statements | None = None
    pending: list[NewEvent] | None = None
    last_event: UUID | None = None
    audit_id: UUID | None = None
    quota: Quota | None = None
    after: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])

    @property
    def db(self) -> Statements:
        """The open transaction, or statements by themselves."""
        if self.statements is None:
            raise RuntimeError(f"{self.operation.name} has no transaction open")
        return self.statements

    async def look_up(self, query: str, id: UUID) -> Any:
        """Return the row of `id`, as Context says."""
        db = self.db
        return await (db.look_up(query, id) if isinstance(db, Reads) else db.fetchrow(query, [id]))

    async def write(self, query: str, *args: object) -> None:
        """Run a statement of which no answer is needed, as Context says."""
        db = self.db
        if isinstance(db, Joined):
            db.later(query, *args)
        else:
            await db.execute(query, *args)

    def transaction(self) -> AbstractAsyncContextManager[Statements]:
        """Open one step's transaction, as Context says."""
        if self.opener is None:
            raise RuntimeError(f"{self.operation.name} does not open transactions itself")
        return self.opener()

    def after_commit(self, call: Callable[[], None]) -> None:
        """Call `call` after the commit, as Context says."""
        if self.pending is None:
            raise RuntimeError("there is no transaction that could be committed")
        self.after.append(call)

    def committed(self) -> None:
        """Call what was to be called after the commit, each once."""
        calls, self.after = self.after, []
        for call in dict.fromkeys(calls):
            call()

    def emit(
        self,
        type: str,
        subject: str,
        data: str,
        *,
        short: str | None = None,
        id: UUID | None = None,
        time: datetime | None = None,
        channel: str | None = None,
    ) -> UUID:
        """Collect an event, as Context says."""
        if self.pending is None:
            raise RuntimeError("an event is emitted inside a transaction, or not at all")
        event = new_event(
            event_id=id or new_id(),
            type=type,
            subject=subject,
            time=time or self.now,
            data=data,
            short=short,
            channel=channel,
        )
        self.pending.append(event)
        self.last_event = event.id
        self.target = self.target or subject
        return event.id

    def name_target(self, result: Any) -> None:
        """Let a result say what was touched, where nothing else has."""
        if self.target is None and isinstance(result, Document | Deleted):
            self.target = f"{result.kind}/{result.name or result.id}"

    def written(self, result: Any) -> str:
        """Return a result as it is kept."""
        return _adapter(self.operation).dump_json(result).decode()

    def read(self, kept: str) -> Any:
        """Return the result that was kept so."""
        return _adapter(self.operation).validate_json(kept)


class Endings:
    """What ends writes of one transaction, for one statement: events, audit rows, results under keys."""

    def __init__(self) -> None:
        self._events: list[tuple[object, ...]] = []
        self._audits: list[tuple[object, ...]] = []
        self._kept: dict[tuple[str, str], tuple[object, ...]] = {}

    def add(
        self,
        run: Run,
        events: Sequence[NewEvent],
        *,
        key: Key | None = None,
        result: Any = None,
        started: bool = False,
        ends: bool = False,
    ) -> None:
        """Take a run's events, its audit row where the operation has `started` or `ends`, and a result under its key."""
        self._events += [(e.id, e.type, e.subject, e.channel, e.time, e.envelope, e.short) for e in events]
        name = run.operation.name
        if started or ends:
            outcome = "started" if started else "ok"
            subject = run.caller.subject
            self._audits.append((run.audit_id, run.now, subject, name, run.target, run.request_id, outcome))
        if key is not None:
            kept = (name, key.name, key.input_hash, key.seal(run.written(result)), run.last_event)
            self._kept[name, key.name] = kept

    def holds(self, key: Key) -> bool:
        """Tell whether a result under this key is to be written."""
        return (key.operation, key.name) in self._kept

    async def write(self, db: Statements) -> None:
        """Write what was taken, and be empty."""
        rows = ((self._events, 7), (self._audits, 7), (list(self._kept.values()), 5))
        columns = [column for some, width in rows for column in _columns(some, width)]
        self._events, self._audits, self._kept = [], [], {}
        if isinstance(db, Joined):
            db.finish(SQL["finish"], *columns)
        else:
            await db.execute(SQL["finish"], *columns)


@dataclass(frozen=True, slots=True)
class Joint:
    """A transaction that several runs share, with its writes so far, and what ends them.

    A trial leaves no trace where it is undone: what is to be noted of its runs waits in `notes`.
    """

    db: Joined
    is_trial: bool = False
    writes: list[Run] = field(default_factory=list["Run"])
    endings: Endings = field(default_factory=Endings)
    notes: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])


async def finish(
    run: Run, db: Statements, events: Sequence[NewEvent], *, started: bool = False, ends: bool = False
) -> None:
    """Write the events into the outbox, and the audit row where the operation has `started` or `ends`."""
    endings = Endings()
    endings.add(run, events, started=started, ends=ends)
    await endings.write(db)


def _columns(rows: Sequence[tuple[object, ...]], width: int) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)] or [[]] * width


def target_of(operation: Operation, input: Mapping[str, Any]) -> str | None:
    """Name what an operation touches, where its input has an id that is one."""
    named = input.get("id")
    id = parse_id(named) if isinstance(named, str) else None
    return None if id is None else f"{operation.touches or operation.name.partition('.')[0]}/{id}"


@cache
def _adapter(operation: Operation) -> TypeAdapter[Any]:
    return TypeAdapter(operation.result)
