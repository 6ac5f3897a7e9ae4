"""Several operations in one transaction: one commit, one poke, or nothing."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel

from core.auth.caller import Caller
from core.clock import SystemClock
from core.errors import HubError
from core.operations.audit import AuditTrail
from core.operations.context import Context
from core.operations.idempotency import IdempotencyKeys
from core.operations.operation import Registry, operation, operations_of
from core.operations.runner import Runner
from core.operations.together import Together, together
from core.store.database import Database
from tests.harness.limiters import limiter_without_redis
from tests.harness.organisations import Organisation


class Note(BaseModel):
    """Input of the operations of this test."""

    text: str


class Notes:
    """An operation that writes, and one that is no transaction."""

    @operation("notes.write", scope="write:agents", transaction="write", input=Note, result=str)
    async def write(self, ctx: Context, note: Note) -> str:
        """Write a note."""
        ctx.emit("note.written", f"agents/{note.text}", "{}")
        # Divides by zero where it is told to: an error of PostgreSQL.
        await ctx.db.fetchval("SELECT 1 / $1::int", int(note.text != "broken"))
        return note.text

    @operation("notes.read", scope=None, transaction="read", input=Note, result=int)
    async def read(self, ctx: Context, note: Note) -> int:
        """Read something."""
        return await ctx.db.fetchval("SELECT length($1::text)", note.text)

    @operation("notes.elsewhere", scope=None, transaction="none", input=Note, result=str)
    async def elsewhere(self, ctx: Context, note: Note) -> str:
        """Do something that cannot be undone."""
        return note.text


@dataclass
class House:
    """A runner over a real database; `pokes` counts those of the relay."""

    runner: Runner
    trail: AuditTrail
    organisation: Organisation
    caller: Caller
    pokes: int = 0

    async def run(self, runs: Together, name: str, text: str) -> Any:
        return (await runs.run(OPERATIONS[name], self.caller, {"text": text}, request_id="req_1")).result

    async def audited(self) -> list[str]:
        await self.trail.flush()
        rows = await self.organisation.rows("SELECT outcome FROM audit ORDER BY outcome")
        return [outcome for (outcome,) in rows]

    async def events(self) -> list[str]:
        return [subject for (subject,) in await self.organisation.rows("SELECT subject FROM outbox ORDER BY seq")]


OPERATIONS = Registry.of(operations_of(Notes()))


@pytest.fixture
async def house(database_url: str, organisation: Organisation) -> AsyncIterator[House]:
    clock = SystemClock()
    database = Database(database_url, role="hub_app", size=1)
    trail = AuditTrail(database_url, clock)

    def poke() -> None:
        made.pokes += 1

    runner = Runner(database, trail, clock, poke, limiter_without_redis(clock), IdempotencyKeys("of a test"))
    made = House(runner, trail, organisation, organisation.caller())
    yield made
    await trail.close()
    await database.close()


async def test_all_are_committed_and_the_relay_is_poked_once(house: House):
    """On one connection; events stand in the order of their operations, each has its row in the audit."""
    async with together(house.runner, house.caller, 30.0) as runs:
        assert [await house.run(runs, "notes.write", text) for text in ("a", "b")] == ["a", "b"]
        assert house.pokes == 0
        assert await house.events() == []
    assert house.pokes == 1
    assert await house.events() == ["agents/a", "agents/b"]
    assert await house.audited() == ["ok", "ok"]


async def test_refusal_undoes_what_was_before(house: House):
    """It is the refusal that comes out, and the audit tells what became of the others."""
    with pytest.raises(HubError) as refused:
        async with together(house.runner, house.caller, 30.0) as runs:
            await house.run(runs, "notes.write", "a")
            await runs.run(OPERATIONS["notes.write"], house.caller, {}, request_id="req_1")
    assert refused.value.code == "VALIDATION_ERROR"
    assert (await house.events(), house.pokes) == ([], 0)
    assert await house.audited() == ["FAILED_DEPENDENCY", "VALIDATION_ERROR"]


async def test_connection_is_good_after_a_bug(house: House):
    """The pool has one: what follows is none of the broken transaction's."""
    with pytest.raises(Exception, match="division by zero"):
        async with together(house.runner, house.caller, 30.0) as runs:
            await house.run(runs, "notes.write", "a")
            await house.run(runs, "notes.write", "broken")
    async with together(house.runner, house.caller, 30.0) as runs:
        await house.run(runs, "notes.write", "b")
    assert await house.events() == ["agents/b"]


async def test_time_is_of_all(house: House):
    """Over it nothing has happened."""
    with pytest.raises(HubError) as refused:
        async with together(house.runner, house.caller, 0.2) as runs:
            await house.run(runs, "notes.write", "a")
            async with together(house.runner, house.caller, 30.0):  # waits for the connection that this has
                pass
    assert refused.value.code == "TIMEOUT"
    assert await house.events() == []


async def test_what_only_reads_pokes_nobody(house: House):
    """There is no event to fetch."""
    async with together(house.runner, house.caller, 30.0) as runs:
        assert await house.run(runs, "notes.read", "four") == 4
    assert house.pokes == 0


async def test_what_cannot_be_undone_is_never_in_a_transaction(house: House):
    """Who opens one has to look before."""
    with pytest.raises(RuntimeError, match=r"notes\.elsewhere"):
        async with together(house.runner, house.caller, 30.0) as runs:
            await house.run(runs, "notes.elsewhere", "a")
