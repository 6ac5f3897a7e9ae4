"""What nobody works on any more is brought to an end, once: what is late, and what its job has left."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from core.deadline import end_tasks
from core.store.database import Database
from handlers.agents.executions.ending import KIND
from handlers.agents.executions.tending import ExecutionTender
from handlers.lasting.tending import LATE_SECONDS, LEFT_SECONDS
from tests.handlers.agents.executions.bureau import Bureau
from tests.harness.clock import ManualClock
from tests.harness.fake_provider import Asked, Turn
from tests.harness.waiting import eventually

TOOL = {"name": "echo", "description": "Says it again", "parameters": {"type": "object", "properties": {}}}
FORGET = "UPDATE jobs SET status = 'failed', finished_at = now() WHERE key = $1 AND status = 'queued' RETURNING id"


@dataclass
class Tended:
    """A tender whose clock the test moves, and how often it has said that something ended."""

    bureau: Bureau
    clock: ManualClock
    said: list[None] = field(default_factory=list[None])

    @property
    def tender(self) -> ExecutionTender:
        bureau = self.bureau
        return ExecutionTender(
            bureau.database, bureau.system, bureau.jobs, self.clock, after=lambda: self.said.append(None)
        )

    async def ended(self, id: UUID) -> tuple[str, str]:
        """Return how an execution has ended: its status, and the code of its error."""
        row = await self.bureau.row(id)
        return row["status"], "" if row["error"] is None else orjson.loads(row["error"])["code"]


def tended(bureau: Bureau, *, ahead: float = 0.0) -> Tended:
    """Return one whose clock goes ahead of everybody else's by so many seconds."""
    return Tended(bureau, ManualClock(datetime.now(UTC) + timedelta(seconds=ahead)))


async def forget(bureau: Bureau, id: UUID) -> None:
    """Let the job of an execution end without it."""
    assert len(await bureau.organisation.rows(FORGET, str(id))) == 1


async def test_late_is_what_is_not_done_by_its_deadline(bureau: Bureau):
    """What nobody has taken, and what waits for its caller; not what has time yet. Each ends once, with its job, and is told."""
    bureau.provider.turns = [Turn(calls=[Asked("echo")])]
    waits = await bureau.begin(await bureau.agent(config={"tools": [TOOL]}), most_seconds=60)
    async with bureau.working():
        await bureau.becomes(waits, "requires_action")
    agent = await bureau.agent()
    late, early = [await bureau.begin(agent, most_seconds=seconds) for seconds in (60, 3_000)]
    its = tended(bureau, ahead=100)
    assert await its.tender.tend("late") == 2
    assert await its.tender.tend("late") == 0
    assert len(its.said) == 1
    for id in (waits, late):
        assert await its.ended(id) == ("failed", "TIMEOUT")
        assert (await bureau.events(id)).count("failed") == 1
    assert await its.ended(early) == ("queued", "")
    async with bureau.working():
        await bureau.becomes(late, "failed")
        assert (await bureau.told(late))[-1]["type"] == "failed"
    jobs = await bureau.organisation.rows("SELECT status FROM jobs WHERE kind = $1 AND key = $2", KIND, str(late))
    assert [job["status"] for job in jobs] == ["cancelled"]


async def test_who_works_on_what_is_late_is_outrun(bureau: Bureau):
    """Its worker says nothing more, and lets go; those that it has delegated to end with it."""
    other = await bureau.agent("Grace")
    asked = orjson.dumps({"agent": str(other), "query": "Part?"}).decode()
    bureau.provider.stories = {"Part": [Turn(["A part ", "of it."])], "both": [Turn(calls=[Asked("delegate", asked)])]}
    bureau.provider.gate = asyncio.Event()
    id = await bureau.begin(await bureau.agent(capabilities=["delegate"]), "both", most_seconds=60)
    its = tended(bureau, ahead=100)
    async with bureau.working() as workers:
        await eventually(lambda: bureau.provider.written >= 1)
        (child,) = await bureau.organisation.rows("SELECT id FROM executions WHERE parent_id = $1", id)
        # A delegate has the time of who asked it, so it is late as well: whichever comes first, each ends once.
        assert await its.tender.tend("late") == 2
        await eventually(lambda: workers.running == 0)
        for each in (id, child["id"]):
            await bureau.ends(each)
        bureau.provider.gate.set()
    assert await its.ended(id) == ("failed", "TIMEOUT")
    assert (await its.ended(child["id"]))[0] in ("failed", "cancelled")
    for each in (id, child["id"]):
        ends = [type for type in await bureau.events(each) if type in ("completed", "failed", "cancelled")]
        assert len(ends) == 1
        assert (await bureau.told(each))[-1]["type"] == ends[0]


async def test_left_is_what_its_job_has_ended_without(bureau: Bureau):
    """Not what has a job, nor what waits for its caller or a delegate, nor what was begun just now."""
    agent = await bureau.agent()
    left, has_job, asks = [await bureau.begin(agent) for _ in range(3)]
    await forget(bureau, left)
    await forget(bureau, asks)
    child = await bureau.begin(agent)
    await bureau.organisation.rows("UPDATE executions SET parent_id = $1, parent_step = 1 WHERE id = $2", asks, child)
    assert await tended(bureau).tender.tend("left") == 0
    its = tended(bureau, ahead=30)
    assert await its.tender.tend("left") == 1
    assert await its.ended(left) == ("failed", "INTERNAL_ERROR")
    assert await bureau.events(left) == ["failed"]
    for id in (has_job, asks, child):
        assert await its.ended(id) == ("queued", "")
    # Once its delegate has gone the same way, nobody is waited for.
    await forget(bureau, child)
    assert await its.tender.tend("left") == 1
    assert await its.ended(child) == ("failed", "INTERNAL_ERROR")
    assert await its.tender.tend("left") == 1
    assert await its.ended(asks) == ("failed", "INTERNAL_ERROR")


async def test_many_tenders_end_it_once(bureau: Bureau):
    """There is one in each process: of those that find the same, one ends it."""
    agent = await bureau.agent()
    ids = [await bureau.begin(agent, most_seconds=60) for _ in range(20)]
    its = tended(bureau, ahead=100)
    counts = await asyncio.gather(*(its.tender.tend("late") for _ in range(4)))
    assert sum(counts) == len(ids)
    for id in ids:
        assert await bureau.events(id) == ["failed"]


async def test_one_that_cannot_be_ended_now_keeps_no_other(bureau: Bureau):
    """It is held by somebody for longer than one waits; the next look ends it."""
    agent = await bureau.agent()
    held, free = [await bureau.begin(agent, most_seconds=60) for _ in range(2)]
    its = tended(bureau, ahead=100)
    async with bureau.database.transaction(bureau.organisation.id) as db:
        await db.fetchrow("SELECT FROM executions WHERE id = $1 FOR UPDATE", held)
        assert await its.tender.tend("late") == 1
    assert [await its.ended(id) for id in (held, free)] == [("queued", ""), ("failed", "TIMEOUT")]
    assert await its.tender.tend("late") == 1


@asynccontextmanager
async def running(tender: ExecutionTender) -> AsyncGenerator[None]:
    """Have it look as long as this is open."""
    task = asyncio.create_task(tender.run())
    try:
        yield
        assert not task.done(), task
    finally:
        await end_tasks([task])


async def test_it_looks_for_late_each_second_and_for_left_each_ten(bureau: Bureau):
    agent = await bureau.agent()
    late, left = await bureau.begin(agent, most_seconds=60), await bureau.begin(agent)
    await forget(bureau, left)
    its = tended(bureau, ahead=100)

    def has_ended(id: UUID) -> Any:
        async def it() -> bool:
            return (await its.ended(id))[0] == "failed"

        return it

    async with running(its.tender):
        await its.clock.advance(LATE_SECONDS)
        await eventually(has_ended(late))
        await eventually(lambda: its.clock.sleeping == 1)
        assert await its.ended(left) == ("queued", "")
        for _ in range(round(LEFT_SECONDS)):
            await its.clock.advance(LATE_SECONDS)
            await eventually(lambda: its.clock.sleeping == 1)
        await eventually(has_ended(left))


async def test_it_goes_on_when_postgres_has_been_away(bureau: Bureau):
    """A look that cannot be is left out."""
    id = await bureau.begin(await bureau.agent(), most_seconds=60)
    its = tended(bureau, ahead=100)
    system = Database("postgresql://nobody@/none?host=/nowhere", role="hub_system", size=1)
    away = ExecutionTender(bureau.database, system, bureau.jobs, its.clock, after=lambda: None)
    async with running(away):
        for _ in range(3):
            await its.clock.advance(LATE_SECONDS)
            await eventually(lambda: its.clock.sleeping == 1)
    await system.close()
    assert await its.ended(id) == ("queued", "")
