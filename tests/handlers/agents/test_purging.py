"""What a deleted agent leaves behind: what runs is ended, once; then no row is left, and nobody else's is gone."""

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson

from core.clock import SystemClock
from core.ids import new_id
from core.store.redis import connect_redis
from handlers.agents.executions.ending import KIND
from handlers.agents.executions.work import Delegated
from handlers.agents.leaving import FORGET, PURGE, close
from handlers.agents.purging import Purging
from handlers.agents.tools.tool import Delegation
from handlers.models.compatible import CompatibleModel
from tests.handlers.agents.executions.bureau import Bureau, opened
from tests.harness.fake_provider import Asked, FakeProvider, Turn, serving
from tests.harness.organisations import Organisation
from tests.harness.valkey import OwnRedis
from tests.harness.waiting import eventually

COUNTED = """
SELECT (SELECT count(*) FROM executions WHERE agent_id = $1) AS executions,
    (SELECT count(*) FROM executions AS e JOIN execution_steps AS s ON s.execution_id = e.id WHERE e.agent_id = $1) AS steps,
    (SELECT count(*) FROM sessions WHERE agent_id = $1) AS sessions,
    (SELECT count(*) FROM sessions AS s JOIN messages AS m ON m.session_id = s.id WHERE s.agent_id = $1) AS messages
"""
EXECUTIONS = """
INSERT INTO executions (org_id, id, agent_id, depth, status, query, context, options, rights, created_at, finished_at, deadline_at)
SELECT $1, gen_random_uuid(), $2, 0, 'completed', 'How?', '{}', '{}', '{}', now(), now(), now() FROM generate_series(1, $3::int)
"""
STEPS = """
INSERT INTO execution_steps (org_id, execution_id, ordinal, kind, name, status, attempt, started_at)
SELECT org_id, id, number, 'tool', 'any', 'completed', 1, now()
FROM (SELECT org_id, id FROM executions WHERE agent_id = $1 ORDER BY id LIMIT 2) AS run, generate_series(1, $2::int) AS number
"""
SESSIONS = """
INSERT INTO sessions (org_id, id, agent_id, title, metadata, version, created_by, created_at, updated_at)
SELECT $1, gen_random_uuid(), $2, '', '{}', 1, 'a', now(), now() FROM generate_series(1, $3::int)
"""
MESSAGES = """
INSERT INTO messages (org_id, id, session_id, role, text, attachments, citations, created_by, created_at)
SELECT org_id, gen_random_uuid(), id, 'user', 'x', '[]', '[]', 'a', now()
FROM (SELECT org_id, id FROM sessions WHERE agent_id = $1 ORDER BY id LIMIT 2) AS of, generate_series(1, $2::int)
"""


async def fill(bureau: Bureau, org_id: UUID, agent: UUID, count: int) -> dict[str, int]:
    """Give an agent so many executions and sessions, and twice as many steps and messages; returns what it has."""
    for query, args in (
        (EXECUTIONS, (org_id, agent, count)),
        (STEPS, (agent, count)),
        (SESSIONS, (org_id, agent, count)),
        (MESSAGES, (agent, count)),
    ):
        await bureau.organisation.rows(query, *args)
    return await counted(bureau, agent)


async def counted(bureau: Bureau, agent: UUID) -> dict[str, int]:
    (row,) = await bureau.organisation.rows(COUNTED, agent)
    return dict(row)


async def deleted(bureau: Bureau, agent: UUID) -> None:
    """Delete an agent, as its operation does."""
    async with bureau.database.transaction(bureau.organisation.id) as db:
        await db.execute("DELETE FROM agents WHERE id = $1", agent)
        await close(db, bureau.jobs, bureau.organisation.id, agent)
    bureau.poke()


async def job(bureau: Bureau, kind: str) -> Mapping[str, Any]:
    """Return the job of a kind that was made last."""
    rows = await bureau.organisation.rows("SELECT * FROM jobs WHERE kind = $1 ORDER BY id DESC LIMIT 1", kind)
    return dict(rows[0]) if rows else {}


def purging(bureau: Bureau, kept: float = 0.0) -> Purging:
    return Purging(bureau.jobs, SystemClock(), lambda: None, kept=kept)


async def is_empty(bureau: Bureau, agent: UUID) -> bool:
    return not any((await counted(bureau, agent)).values())


async def test_no_row_is_left_and_nobody_elses_is_gone(bureau: Bureau):
    """More of everything than one transaction takes; of another agent, and of another organisation, all stays."""
    agent, other = await bureau.agent(), await bureau.agent("Grace")
    foreign, of_foreign = new_id(), new_id()
    await bureau.organisation.rows("INSERT INTO organisations (id, slug, tier) VALUES ($1, 'foreign', 'free')", foreign)
    org_id = bureau.organisation.id
    assert await fill(bureau, org_id, agent, 1_100) == {
        "executions": 1_100, "steps": 2_200, "sessions": 1_100, "messages": 2_200,
    }  # fmt: skip
    kept = [(other, await fill(bureau, org_id, other, 3)), (of_foreign, await fill(bureau, foreign, of_foreign, 3))]
    await deleted(bureau, agent)
    async with bureau.working(*purging(bureau).kinds):
        await eventually(lambda: is_empty(bureau, agent))
        await eventually(lambda: job_is(bureau, PURGE, "completed"))
    assert [(id, await counted(bureau, id)) for id, _ in kept] == kept


async def job_is(bureau: Bureau, kind: str, status: str) -> bool:
    return (await job(bureau, kind)).get("status") == status


async def test_what_runs_is_ended_first_and_once(bureau: Bureau):
    """A run that writes, one that waits, one that has delegated, and its delegate; their readers hear one end each."""
    tools = [{"name": "echo", "description": "Says it again", "parameters": {"type": "object", "properties": {}}}]
    other = await bureau.agent("Grace")
    asked = orjson.dumps({"agent": str(other), "query": "Part?"}).decode()
    bureau.provider.stories = {
        "echo": [Turn(calls=[Asked("echo")])],
        "Part": [Turn(["A part ", "of it."])],
        "both": [Turn(calls=[Asked("delegate", asked)])],
    }
    agent = await bureau.agent(capabilities=["delegate"], config={"tools": tools})
    async with bureau.working(*purging(bureau, kept=6.0).kinds) as workers:  # longer than the looks below take
        waits = await bureau.begin(agent, "echo")
        await bureau.becomes(waits, "requires_action")
        bureau.provider.gate = asyncio.Event()
        writes = await bureau.begin(agent)
        delegates = await bureau.begin(agent, "both")
        # The two that write, each its first piece.
        await eventually(lambda: bureau.provider.written >= 2)
        (child,) = await eventually(lambda: children(bureau, delegates))
        await deleted(bureau, agent)
        ids = [waits, writes, delegates, child["id"]]
        for id in ids:
            assert (await bureau.ends(id))["status"] == "cancelled"
            assert [each["type"] for each in await bureau.told(id)].count("cancelled") == 1
        bureau.provider.gate.set()
        await eventually(lambda: is_empty(bureau, agent))
        await eventually(lambda: workers.running == 0)
    for id in ids:
        assert (await bureau.events(id))[-1] == "cancelled"
        assert (await bureau.events(id)).count("cancelled") == 1
        assert (await bureau.told(id))[-1]["type"] == "cancelled"
    # The delegate is an execution of an agent that is there.
    assert [row["id"] for row in await bureau.organisation.rows("SELECT id FROM executions")] == [child["id"]]


async def children(bureau: Bureau, id: UUID) -> list[Any]:
    return await bureau.organisation.rows("SELECT id FROM executions WHERE parent_id = $1", id)


async def test_who_has_delegated_to_it_goes_on(bureau: Bureau):
    """And is told how that ended."""
    agent = await bureau.agent("Grace")
    asked = orjson.dumps({"agent": str(agent), "query": "Part?"}).decode()
    bureau.provider.stories = {
        "Part": [Turn(["A part ", "of it."])],
        "both": [Turn(calls=[Asked("delegate", asked)]), Turn(["Alone."])],
    }
    async with bureau.working(*purging(bureau).kinds):
        bureau.provider.gate = asyncio.Event()
        id = await bureau.begin(await bureau.agent(capabilities=["delegate"]), "both")
        await eventually(lambda: bureau.provider.written >= 1)
        await deleted(bureau, agent)
        await eventually(lambda: is_empty(bureau, agent))
        bureau.provider.gate.set()
        row = await bureau.ends(id)
    assert (row["status"], row["text"]) == ("completed", "Alone.")
    step = (await bureau.steps(id))[1]
    assert orjson.loads(step["error"]) == {
        "code": "DELEGATE_ENDED",
        "message": "The other agent's execution was cancelled",
    }


async def test_rows_stay_until_their_rooms_have_heard_of_the_end(
    database_url: str, own_redis: OwnRedis, organisation: Organisation
):
    """While Redis is away there is nothing but them to tell it by: the job comes again until all is told."""
    redis = connect_redis(own_redis.url)
    async with serving(FakeProvider(gate=asyncio.Event())) as provider:
        model = CompatibleModel(provider.url, "tiny", None, SystemClock())
        async with opened(database_url, redis, own_redis.url, organisation, provider, model) as bureau:
            agent = await bureau.agent()
            id = await bureau.begin(agent)
            async with bureau.working(*purging(bureau).kinds):
                await eventually(lambda: provider.written >= 1)
                own_redis.kill()
                await deleted(bureau, agent)
                assert (await eventually(lambda: failure(bureau)))["code"] == "SERVICE_UNAVAILABLE"
                assert (await bureau.row(id))["status"] == "cancelled"
                own_redis.start()
                await eventually(lambda: is_empty(bureau, agent))
            assert [each["type"] for each in await bureau.told(id)].count("cancelled") == 1
        await model.close()
    await redis.aclose()


async def test_executions_of_a_deleted_session_go_and_no_others(bureau: Bureau):
    """More than one transaction takes; another session of the agent, and what it did without one, stay."""
    agent, session, other = await bureau.agent(), new_id(), new_id()
    await fill(bureau, bureau.organisation.id, agent, 1_300)
    some = "SELECT id FROM executions WHERE agent_id = $1 ORDER BY id LIMIT $3 OFFSET $4"
    for id, count, first in ((session, 1_100, 0), (other, 100, 1_100)):
        query = f"UPDATE executions SET session_id = $2 WHERE id IN ({some}) RETURNING id"  # noqa: S608 - the query above
        assert len(await bureau.organisation.rows(query, agent, id, count, first)) == count
    async with bureau.database.transaction(bureau.organisation.id) as db:
        await bureau.jobs.enqueue(db, bureau.organisation.id, FORGET, {"session_id": str(session)}, key=str(session))
    async with bureau.working(*purging(bureau).kinds):
        await eventually(lambda: job_is(bureau, FORGET, "completed"))
    left = await bureau.organisation.rows("SELECT session_id, count(*) AS count FROM executions GROUP BY session_id")
    assert {row["session_id"]: row["count"] for row in left} == {other: 100, None: 100}
    assert (await counted(bureau, agent))["steps"] == 0  # all were of the first two


async def failure(bureau: Bureau) -> Any:
    error = (await job(bureau, PURGE)).get("error")
    return error and orjson.loads(error)


async def test_delegate_that_comes_too_late_is_removed_too(bureau: Bureau):
    """Its agent was deleted between the call and its beginning, and all that was there has gone already."""
    agent = await bureau.agent("Grace")
    await deleted(bureau, agent)
    parent = await bureau.begin(await bureau.agent())
    async with bureau.working(*purging(bureau).kinds):
        await bureau.ends(parent)
        await eventually(lambda: job_is(bureau, PURGE, "completed"))
        async with bureau.database.transaction(bureau.organisation.id) as db:
            row = await bureau.row(parent)
            delegated = Delegated(1, Delegation(agent, "Part?"))
            await delegated.begin(db, bureau.jobs, row, bureau.clock.now())
        (child,) = await children(bureau, parent)
        bureau.poke()
        await eventually(lambda: is_empty(bureau, agent))
        assert (await bureau.events(child["id"]))[-1] in ("cancelled", "failed")
    assert await bureau.organisation.rows("SELECT FROM jobs WHERE kind = $1 AND status = 'running'", KIND) == []
