"""The one path of every operation: scope, input, key, transaction, events, audit."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, Field

from core.auth.caller import Caller
from core.clock import SystemClock
from core.errors import HubError
from core.ids import new_id
from core.operations.audit import Access, AuditTrail
from core.operations.context import Context
from core.operations.idempotency import IdempotencyKeys
from core.operations.operation import Operation, Registry, operation, operations_of
from core.operations.run import Outcome
from core.operations.runner import Runner
from core.store.database import Database, connect_as
from core.store.noted import MOST_WAITING
from tests.harness.clock import ManualClock
from tests.harness.limiters import limiter_without_redis
from tests.harness.organisations import Organisation, Organisations
from tests.harness.waiting import eventually


class Note(BaseModel):
    """Input of the operations of this test."""

    text: str = Field(min_length=1, max_length=20)
    fail: bool = False
    tags: list[int] = []


@dataclass
class Notes:
    """Operations of every transaction mode. `gate` holds a run inside its transaction until the test opens it."""

    runs: int = 0
    gate: asyncio.Event | None = None
    seen: list[Any] = field(default_factory=list[Any])

    @operation("notes.write", scope="write:agents", transaction="write", input=Note, result=dict)
    async def write(self, ctx: Context, note: Note) -> dict[str, Any]:
        """Write a note."""
        self.runs += 1
        ctx.emit("note.written", f"agents/{note.text}", '{"a":1}')
        if self.gate is not None:
            await self.gate.wait()
        if note.fail:
            raise HubError("RESOURCE_CONFLICT")
        return {"run": self.runs, "text": note.text}

    @operation("notes.read", scope="read:agents", transaction="read", input=Note, result=int)
    async def read(self, ctx: Context, note: Note) -> int:
        """Read something."""
        return await ctx.db.fetchval("SELECT length($1::text)", note.text)

    @operation("notes.emit_while_reading", scope="read:agents", transaction="read", input=Note, result=int)
    async def emit_while_reading(self, ctx: Context, note: Note) -> int:
        """Do what is not allowed."""
        ctx.emit("note.written", "agents/x", "{}")
        return 0

    @operation("notes.elsewhere", scope="write:agents", transaction="none", input=Note, result=dict)
    async def elsewhere(self, ctx: Context, note: Note) -> dict[str, Any]:
        """Do something that is no row."""
        self.runs += 1
        if self.gate is not None:
            await self.gate.wait()
        if note.fail:
            raise HubError("BAD_GATEWAY")
        return {"run": self.runs}

    @operation("notes.steps", scope="write:agents", transaction="none", input=Note, result=dict)
    async def steps(self, ctx: Context, note: Note) -> dict[str, Any]:
        """Work in two steps, and outside of them."""
        self.runs += 1
        async with ctx.transaction() as db:
            await db.fetchval("SELECT 1")
            ctx.emit("note.begun", f"agents/{note.text}", "{}")
        with pytest.raises(RuntimeError):
            ctx.emit("note.between", "agents/x", "{}")
        if self.gate is not None:
            await self.gate.wait()
        if note.fail:
            raise HubError("BAD_GATEWAY")
        async with ctx.transaction():
            ctx.emit("note.ended", f"agents/{note.text}", "{}")
        return {"run": self.runs}


@dataclass
class House:
    """A runner over a real database, and what a test asks of it."""

    url: str
    runner: Runner
    trail: AuditTrail
    notes: Notes
    operations: Registry
    caller: Caller
    pokes: int = 0

    async def run(self, name: str, caller: Caller | None = None, key: str | None = None, **data: Any) -> Outcome:
        input: Mapping[str, Any] = data
        return await self.runner.run(
            self.operations[name], caller or self.caller, input, request_id="req_1", idempotency_key=key
        )

    async def rows(self, query: str) -> list[Any]:
        connection = await connect_as(self.url, "hub_owner")
        try:
            return [tuple(row) for row in await connection.fetch(query)]
        finally:
            await connection.close()

    async def events(self) -> list[str]:
        return [row[0] for row in await self.rows("SELECT type FROM outbox ORDER BY seq")]


@pytest.fixture
async def house(database_url: str, organisation: Organisation) -> AsyncIterator[House]:
    clock = SystemClock()
    database = Database(database_url, role="hub_app", size=6)
    trail = AuditTrail(database_url, clock)
    notes = Notes()

    def poke() -> None:
        made.pokes += 1

    runner = Runner(database, trail, clock, poke, limiter_without_redis(clock), IdempotencyKeys("of a test"))
    made = House(database_url, runner, trail, notes, Registry.of(operations_of(notes)), organisation.caller())
    yield made
    await trail.close()
    await database.close()


async def _refusal(work: Any) -> HubError:
    with pytest.raises(HubError) as refused:
        await work
    return refused.value


async def test_write_commits_events_and_audit_together(house: House):
    """One transaction: the event is in the outbox, the audit names who, what and how it ended; the relay is poked."""
    outcome = await house.run("notes.write", text="hello")
    assert (outcome.result, outcome.replayed) == ({"run": 1, "text": "hello"}, False)
    assert await house.rows("SELECT event_id, type, subject, channel FROM outbox") == [
        (outcome.event_id, "note.written", "agents/hello", "agents:hello")
    ]
    assert await house.rows("SELECT caller, operation, target, request_id, outcome FROM audit") == [
        (house.caller.subject, "notes.write", "agents/hello", "req_1", "ok")
    ]
    assert house.pokes == 1


async def test_refusal_in_a_write_leaves_nothing_but_its_audit(house: House):
    """The transaction is rolled back, and that somebody tried is noted."""
    refused = await _refusal(house.run("notes.write", text="hello", fail=True))
    assert refused.code == "RESOURCE_CONFLICT"
    assert (await house.events(), house.pokes) == ([], 0)
    await house.trail.flush()
    assert await house.rows("SELECT operation, outcome FROM audit") == [("notes.write", "RESOURCE_CONFLICT")]


async def test_missing_scope_is_refused_before_anything_is_looked_at(house: House, organisation: Organisation):
    """403 INSUFFICIENT_SCOPE names the scope, also for input that is wrong."""
    refused = await _refusal(house.run("notes.write", organisation.caller(scopes=["read:agents"]), text=""))
    assert (refused.code, "write:agents" in refused.text) == ("INSUFFICIENT_SCOPE", True)
    assert house.notes.runs == 0


async def test_every_error_of_an_input_comes_at_once_with_its_path_and_code(house: House):
    """VALIDATION_ERROR with details: the seed's finer codes."""
    refused = await _refusal(house.run("notes.write", text="x" * 21, fail="what", tags=[1, "no"]))
    assert refused.code == "VALIDATION_ERROR"
    assert {(detail.field, detail.code) for detail in refused.details} == {
        ("text", "VALUE_OUT_OF_RANGE"),
        ("fail", "INVALID_FORMAT"),
        ("tags[1]", "INVALID_FORMAT"),
    }
    missing = await _refusal(house.run("notes.write"))
    assert [(detail.field, detail.code) for detail in missing.details] == [("text", "MISSING_REQUIRED_FIELD")]


async def test_read_runs_without_a_transaction_and_is_noted_off_the_path(house: House):
    """One autocommit statement; the audit follows in a batch."""
    assert (await house.run("notes.read", text="four")).result == 4
    assert await house.rows("SELECT 1 FROM audit") == []
    await house.trail.flush()
    assert await house.rows("SELECT operation, outcome FROM audit") == [("notes.read", "ok")]


async def test_event_outside_a_transaction_is_a_bug(house: House):
    """Emit raises where nothing would write the event."""
    with pytest.raises(RuntimeError):
        await house.run("notes.emit_while_reading", text="x")


async def test_repeat_under_a_key_gives_the_first_result_and_does_nothing(house: House):
    """Same key and input: the first result and event again, no second event."""
    first = await house.run("notes.write", key="k1", text="hello")
    again = await house.run("notes.write", key="k1", text="hello")
    assert (again.result, again.event_id, again.replayed) == (first.result, first.event_id, True)
    assert (house.notes.runs, await house.events()) == (1, ["note.written"])


async def test_key_with_another_input_is_refused(house: House):
    """422 IDEMPOTENCY_KEY_REUSED."""
    await house.run("notes.write", key="k1", text="hello")
    assert (await _refusal(house.run("notes.write", key="k1", text="other"))).code == "IDEMPOTENCY_KEY_REUSED"


async def test_first_result_is_not_for_a_caller_of_other_resources(house: House, organisation: Organisation):
    """What is kept may be of a resource that the repeating caller may not see; its own results it gets again."""
    restricted = organisation.caller(resource_ids=[new_id()])
    other = organisation.caller(resource_ids=[new_id()])
    await house.run("notes.write", key="k1", text="all")
    assert (await _refusal(house.run("notes.write", restricted, key="k1", text="all"))).code == "IDEMPOTENCY_KEY_REUSED"
    await house.run("notes.write", restricted, key="k2", text="own")
    assert (await house.run("notes.write", restricted, key="k2", text="own")).replayed
    assert (await _refusal(house.run("notes.write", other, key="k2", text="own"))).code == "IDEMPOTENCY_KEY_REUSED"


async def test_key_of_a_refused_write_can_be_used_again(house: House):
    """Refusals are not kept."""
    await _refusal(house.run("notes.write", key="k1", text="hello", fail=True))
    assert not (await house.run("notes.write", key="k1", text="hello")).replayed


async def test_key_in_use_is_locked_and_organisations_do_not_share_keys(house: House, organisations: Organisations):
    """While one request works under a key another gets 409; a foreign organisation has keys of its own."""
    house.notes.gate = asyncio.Event()
    first = asyncio.create_task(house.run("notes.write", key="k1", text="hello"))
    await eventually(lambda: house.notes.runs == 1)
    assert (await _refusal(house.run("notes.write", key="k1", text="hello"))).code == "RESOURCE_LOCKED"
    foreign = asyncio.create_task(
        house.run("notes.write", (await organisations.create()).caller(), key="k1", text="hello")
    )
    await eventually(lambda: house.notes.runs == 2)
    house.notes.gate.set()
    assert not (await first).replayed
    assert not (await foreign).replayed


async def test_twenty_at_once_under_one_key_do_it_once(house: House):
    """Whatever the interleaving: one effect, every answer the same or a 409."""
    answers = await asyncio.gather(
        *(house.run("notes.write", key="k1", text="hello") for _ in range(20)), return_exceptions=True
    )
    results = [answer.result for answer in answers if isinstance(answer, Outcome)]
    refusals = {answer.code for answer in answers if isinstance(answer, HubError)}
    assert results
    assert all(result == results[0] for result in results)
    assert refusals <= {"RESOURCE_LOCKED"}
    assert await house.events() == ["note.written"]


@pytest.mark.parametrize("key", ["", "x" * 256, "sp ace", "täglich", "new\nline"])
async def test_malformed_key_is_refused(house: House, key: str):
    """1 to 255 visible ASCII characters."""
    refused = await _refusal(house.run("notes.write", key=key, text="hello"))
    assert [detail.field for detail in refused.details] == ["Idempotency-Key"]


async def test_steps_commit_one_by_one_and_are_audited_from_start_to_end(house: House):
    """Each step's events with its step; one audit row, `ok` at the end."""
    outcome = await house.run("notes.steps", text="s")
    assert outcome.result == {"run": 1}
    assert await house.events() == ["note.begun", "note.ended"]
    assert await house.rows("SELECT operation, outcome FROM audit") == [("notes.steps", "ok")]


async def test_steps_under_a_key_are_claimed_from_the_first(house: House):
    """A repeat gets 409 while the first works, and its result afterwards."""
    house.notes.gate = asyncio.Event()
    first = asyncio.create_task(house.run("notes.steps", key="k1", text="s"))
    await eventually(lambda: _begun(house))
    assert (await _refusal(house.run("notes.steps", key="k1", text="s"))).code == "RESOURCE_LOCKED"
    house.notes.gate.set()
    result = (await first).result
    again = await house.run("notes.steps", key="k1", text="s")
    assert (again.replayed, again.result) == (True, result)
    assert await house.events() == ["note.begun", "note.ended"]


async def _begun(house: House) -> bool:
    return await house.events() == ["note.begun"]


async def test_steps_that_fail_give_their_key_back(house: House):
    """The claim goes, the audit says how it ended."""
    await _refusal(house.run("notes.steps", key="k1", text="s", fail=True))
    assert await house.rows("SELECT outcome FROM audit") == [("BAD_GATEWAY",)]
    assert await house.rows("SELECT 1 FROM idempotency") == []


async def test_claim_of_a_process_that_died_ends_with_its_lease(house: House):
    """Nothing stays in flight for ever."""
    house.notes.gate = asyncio.Event()
    dying = asyncio.create_task(house.run("notes.steps", key="k1", text="s"))
    await eventually(lambda: _begun(house))
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    assert (await _refusal(house.run("notes.steps", key="k1", text="s"))).code == "RESOURCE_LOCKED"
    await house.rows("UPDATE idempotency SET lease_until = clock_timestamp() - interval '1 s' RETURNING 1")
    house.notes.gate.set()
    assert not (await house.run("notes.steps", key="k1", text="s")).replayed


async def test_run_whose_lease_another_took_is_fenced_off(house: House):
    """It stood still for too long: it commits no step any more, and the result of the one that took over is the result."""
    gate = house.notes.gate = asyncio.Event()
    late = asyncio.create_task(house.run("notes.steps", key="k1", text="s"))
    await eventually(lambda: _begun(house))
    await house.rows("UPDATE idempotency SET lease_until = clock_timestamp() - interval '1 s' RETURNING 1")
    house.notes.gate = None
    result = (await house.run("notes.steps", key="k1", text="s")).result
    gate.set()
    assert (await _refusal(late)).code == "RESOURCE_LOCKED"
    assert await house.events() == ["note.begun", "note.begun", "note.ended"]
    assert (await house.run("notes.steps", key="k1", text="s")).result == result
    assert await house.rows("SELECT outcome FROM audit ORDER BY id") == [("RESOURCE_LOCKED",), ("ok",)]


async def test_work_without_a_transaction_is_claimed_too(house: House):
    """What does something elsewhere does it once: the claim is committed before it begins, and its end kept after it."""
    house.notes.gate = asyncio.Event()
    first = asyncio.create_task(house.run("notes.elsewhere", key="k1", text="s"))
    await eventually(lambda: house.notes.runs == 1)
    assert (await _refusal(house.run("notes.elsewhere", key="k1", text="s"))).code == "RESOURCE_LOCKED"
    house.notes.gate.set()
    assert (await first).result == (await house.run("notes.elsewhere", key="k1", text="s")).result == {"run": 1}
    await _refusal(house.run("notes.elsewhere", key="k2", text="s", fail=True))
    await house.trail.flush()
    outcomes = await house.rows("SELECT outcome FROM audit ORDER BY id")
    assert outcomes == [(each,) for each in ("RESOURCE_LOCKED", "ok", "replayed", "BAD_GATEWAY")]


async def test_deadline_ends_a_run_with_nothing_done(house: House):
    """504 TIMEOUT; the transaction is gone."""
    house.notes.gate = asyncio.Event()
    work = house.runner.run(
        house.operations["notes.write"], house.caller, {"text": "x"}, request_id="r", deadline_seconds=0.05
    )
    assert (await _refusal(work)).code == "TIMEOUT"
    assert await house.events() == []


def test_registry_refuses_two_operations_of_one_name():
    """All or nothing."""
    found = operations_of(Notes())
    with pytest.raises(ValueError, match=r"notes\.read"):
        Registry.of([*found, found[2]])


async def test_audit_that_cannot_be_written_is_bounded_and_counted(database_url: str, clock: ManualClock):
    """While PostgreSQL is away accesses wait, up to a bound; what is lost is counted."""
    trail = AuditTrail("postgresql://nobody@127.0.0.1:1/none", clock)
    access = Access(UUID(int=1), clock.now(), "key:1", "agents.get", None, "req_1", "ok")
    for _ in range(MOST_WAITING + 5):
        trail.note(access)
    assert trail.lost == 5
    await trail.close()


def test_operation_is_data():
    """A declared method stays callable, and says what it is."""
    declared = {op.name: op for op in operations_of(Notes())}
    write: Operation = declared["notes.write"]
    assert (write.scope, write.transaction, write.takes_key, write.summary) == (
        "write:agents",
        "write",
        True,
        "Write a note.",
    )
