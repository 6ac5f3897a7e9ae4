"""Executions as they are done: what is told, kept and emitted, and what becomes of them whoever dies."""

import asyncio
from typing import Any
from uuid import UUID

import orjson

from handlers.agents.executions import ending
from handlers.agents.executions.runtime import MOST_NOTES
from handlers.agents.executions.store import SQL
from tests.handlers.agents.executions.bureau import Bureau, text_of
from tests.harness.fake_provider import Asked, Turn, after_one_word, status
from tests.harness.waiting import eventually

ECHO = {"name": "echo", "description": "Says it again", "parameters": {"type": "object", "properties": {}}}
SUMMARY = '{"task": "summarize", "text": "One thing. Another thing."}'


def sequences_of(told: list[dict[str, Any]]) -> list[int]:
    return [each["sequence"] for each in told if each["type"] == "delta"]


async def test_answer_is_told_kept_and_emitted(bureau: Bureau):
    """Deltas from 1 on, then the end, once; the same text in all of them."""
    id = await bureau.begin(await bureau.agent())
    async with bureau.working():
        row = await bureau.ends(id)
    assert (row["status"], row["text"], row["attempt"]) == ("completed", "Install it with pip [1].", 1)
    told = await bureau.told(id)
    assert [told[0]["type"], told[-1]["type"]] == ["started", "completed"]
    assert sequences_of(told) == list(range(1, row["sequence"] + 1))
    assert text_of(told) == row["text"]
    assert await bureau.events(id) == ["started", "step", "completed"]
    (step,) = await bureau.steps(id)
    assert (step["kind"], step["status"], step["text"]) == ("model", "completed", row["text"])


async def test_tool_is_called_and_its_result_read(bureau: Bureau):
    """What two turns have written is one text, with a break between."""
    bureau.provider.turns = [
        Turn(["Let me see."], [Asked("text_processing", SUMMARY)]),
        Turn(["There are ", "two things."]),
    ]
    id = await bureau.begin(await bureau.agent())
    async with bureau.working():
        row = await bureau.ends(id)
    assert row["text"] == "Let me see.\n\nThere are two things."
    steps = await bureau.steps(id)
    assert [(step["kind"], step["status"]) for step in steps] == [
        ("model", "completed"),
        ("tool", "completed"),
        ("model", "completed"),
    ]
    assert "thing" in steps[1]["output"]
    assert orjson.loads(row["usage"])["steps"] == 3
    assert text_of(await bureau.told(id)) == row["text"]


async def test_tool_that_fails_is_told_to_the_model(bureau: Bureau):
    """A tool that is none, and arguments that are wrong; the run goes on."""
    bureau.provider.turns = [
        Turn(calls=[Asked("nothing"), Asked("text_processing", '{"task": "dance"}')]),
        Turn(["I cannot."]),
    ]
    id = await bureau.begin(await bureau.agent())
    async with bureau.working():
        row = await bureau.ends(id)
    assert (row["status"], row["text"]) == ("completed", "I cannot.")
    steps = await bureau.steps(id)
    assert [orjson.loads(step["error"])["code"] for step in steps[1:3]] == ["TOOL_FAILED"] * 2
    said = [message["content"] for message in bureau.provider.calls[-1]["messages"] if message["role"] == "tool"]
    assert said[0].startswith("Error: There is no tool")


async def test_limits_of_turns_and_tokens(bureau: Bureau):
    """A model that asks for tools for ever is stopped, and so is one that is too dear."""
    bureau.provider.turns = [Turn(calls=[Asked("text_processing", SUMMARY)])]
    endless = await bureau.begin(await bureau.agent(config={"most_steps": 3}))
    dear = await bureau.begin(await bureau.agent(config={"most_total_tokens": 5}))
    async with bureau.working():
        rows = [await bureau.ends(id) for id in (endless, dear)]
    for row in rows:
        assert (row["status"], orjson.loads(row["error"])["code"]) == ("failed", "LIMIT_EXCEEDED")
    assert len([step for step in await bureau.steps(endless) if step["kind"] == "model"]) == 3


async def test_deadline_ends_a_run_that_stands_still(bureau: Bureau):
    bureau.provider.gate = asyncio.Event()
    id = await bureau.begin(await bureau.agent(), most_seconds=1)
    async with bureau.working():
        row = await bureau.ends(id)
    assert (row["status"], orjson.loads(row["error"])["code"]) == ("failed", "TIMEOUT")
    assert text_of(await bureau.told(id)) == row["text"] == "Install it "


async def test_turn_that_breaks_is_told_anew(bureau: Bureau):
    """Readers are told that what came is void, and get one whole answer."""
    bureau.provider.faults.append(after_one_word(None))
    id = await bureau.begin(await bureau.agent())
    async with bureau.working():
        row = await bureau.ends(id)
    assert (row["status"], row["text"]) == ("completed", "Install it with pip [1].")
    told = await bureau.told(id)
    assert "restarted" in [each["type"] for each in told]
    assert text_of(told) == row["text"]


async def test_provider_that_refuses_fails_the_run(bureau: Bureau):
    bureau.provider.faults.extend([status(401)] * 4)
    id = await bureau.begin(await bureau.agent())
    async with bureau.working():
        row = await bureau.ends(id)
    assert (row["status"], orjson.loads(row["error"])["code"]) == ("failed", "BAD_GATEWAY")
    assert (await bureau.told(id))[-1]["type"] == "failed"


async def test_worker_that_dies_in_mid_answer(bureau: Bureau):
    """Another goes on: its readers are told to begin anew, and get one whole answer; the step that was kept is not done again."""
    bureau.provider.turns = [
        Turn(["Let me see."], [Asked("text_processing", SUMMARY)]),
        Turn(["There are ", "two things."]),
    ]
    id = await bureau.begin(await bureau.agent())
    async with bureau.working():
        await eventually(lambda: len(bureau.provider.calls) == 1)
        bureau.provider.gate = asyncio.Event()
        await eventually(lambda: len(bureau.provider.calls) == 2)
        await eventually(lambda: bureau.provider.written >= 2)

        async def is_told() -> bool:
            return "There are" in text_of(await bureau.told(id))

        await eventually(is_told)
    bureau.provider.gate.set()
    async with bureau.working():
        row = await bureau.ends(id)
    assert (row["status"], row["attempt"]) == ("completed", 2)
    assert row["text"] == "Let me see.\n\nThere are two things."
    assert len(bureau.provider.calls) == 3
    told = await bureau.told(id)
    (again,) = [each for each in told if each["type"] == "restarted"]
    assert again["text"] == "Let me see."
    assert text_of(told) == row["text"]
    assert (await bureau.events(id)).count("completed") == 1


async def test_tools_that_are_not_there_are_noted(bureau: Bureau):
    """As it is in the last attempt: what was missing before is not noted any more."""
    bureau.provider.turns = [Turn(calls=[Asked("echo")]), Turn(["Done."])]
    agent = await bureau.agent(capabilities=["http_request"], config={"tools": [ECHO]})
    id = await bureau.begin(agent)
    async with bureau.working():
        row = await bureau.becomes(id, "requires_action")
        assert orjson.loads(row["notes"]) == ["http_request is missing: config.http.allow names no host"]
        change = "UPDATE agents SET document = (document::jsonb - 'capabilities')::text WHERE id = $1"
        await bureau.organisation.rows(change, agent)
        await bureau.answer(id, 2, "An echo")
        row = await bureau.ends(id)
    assert (row["text"], row["notes"]) == ("Done.", "[]")
    assert (await bureau.told(id))[-1]["notes"] == []


async def test_notes_are_bounded(bureau: Bureau):
    """Servers can have hundreds of tools that cannot be taken."""
    tools = [{**ECHO, "name": f"t{number}"} for number in range(MOST_NOTES)]
    agent = await bureau.agent(capabilities=["http_request"], config={"tools": tools})
    id = await bureau.begin(agent, tools=tools)
    async with bureau.working():
        row = await bureau.ends(id)
    notes = orjson.loads(row["notes"])
    assert (row["status"], len(notes)) == ("completed", MOST_NOTES)
    assert notes[-1].startswith(f"t{MOST_NOTES - 2} is missing: ")


async def test_caller_runs_a_tool_and_a_person_approves_it(bureau: Bureau):
    """The run waits, without a worker, first for the yes and then for the result."""
    bureau.provider.turns = [Turn(calls=[Asked("echo")]), Turn(["Done."])]
    id = await bureau.begin(await bureau.agent(config={"tools": [{**ECHO, "approval": True}]}))
    async with bureau.working() as workers:
        row = await bureau.becomes(id, "requires_action")
        (call,) = orjson.loads(row["action"])["calls"]
        assert (call["name"], call["needs"]) == ("echo", "approval")
        await eventually(lambda: workers.running == 0)
        await bureau.approve(id, 2)

        async def wants_result() -> Any:
            row = await bureau.row(id)
            return row["action"] and orjson.loads(row["action"])["calls"][0]["needs"] == "result"

        await eventually(wants_result)
        await bureau.answer(id, 2, "An echo")
        row = await bureau.ends(id)
    assert (row["status"], row["text"]) == ("completed", "Done.")
    told = [each["type"] for each in await bureau.told(id)]
    assert told.count("requires_action") == 2
    assert told.count("resumed") == 2
    assert "restarted" not in told


async def test_delegates_answer_and_their_runs_are_executions(bureau: Bureau):
    """Two at once; who asked goes on when both have answered."""
    other = await bureau.agent("Grace")
    asked = [Asked("delegate", orjson.dumps({"agent": str(other), "query": f"Part {n}?"}).decode()) for n in (1, 2)]
    bureau.provider.stories = {"Part": [Turn(["A part."])]}
    bureau.provider.turns = [Turn(calls=asked), Turn(["Both said so."])]
    id = await bureau.begin(await bureau.agent(capabilities=["delegate"]))
    async with bureau.working():
        row = await bureau.ends(id)
    assert (row["status"], row["text"]) == ("completed", "Both said so.")
    assert [step["output"] for step in await bureau.steps(id)][1:3] == ["A part.", "A part."]
    children = await bureau.organisation.rows("SELECT status, depth FROM executions WHERE parent_id = $1", id)
    assert [(child["status"], child["depth"]) for child in children] == [("completed", 1)] * 2


async def test_delegate_ends_while_who_asked_goes_back_to_waiting(bureau: Bureau):
    """Its end is written and not committed when the other's job looks for the last time: that waits for it, and goes on."""
    other = await bureau.agent("Grace")
    asked = [Asked("delegate", orjson.dumps({"agent": str(other), "query": f"Part {n}?"}).decode()) for n in (1, 2)]
    bureau.provider.stories = {"Part": [Turn(["A ", "part."])]}
    bureau.provider.turns = [Turn(calls=asked), Turn(["Both have ended."])]
    bureau.provider.gate = asyncio.Event()
    org_id = bureau.organisation.id
    id = await bureau.begin(await bureau.agent(capabilities=["delegate"]))
    async with bureau.working():
        first, second = await eventually(lambda: both_are_saved(bureau, id))
        async with bureau.database.transaction(org_id) as ending_it:
            async with bureau.database.transaction(org_id) as held:
                await held.fetchrow(SQL["hold"], id)
                await bureau.cancel(first["id"])
                await eventually(lambda: waits_for_a_lock(bureau))
                await ending.cancel(ending_it, bureau.jobs, org_id, second["id"], bureau.clock.now())
            await eventually(lambda: waits_for_a_lock(bureau))
        bureau.poke()
        row = await bureau.ends(id)
    assert (row["status"], row["text"]) == ("completed", "Both have ended.")


async def both_are_saved(bureau: Bureau, id: UUID) -> list[Any] | None:
    """Return the delegates of an execution once both stand still, and write nothing."""
    saved = "SELECT id FROM executions WHERE parent_id = $1 AND text <> ''"
    found = await bureau.organisation.rows(saved, id)
    return found if len(found) == 2 else None


async def waits_for_a_lock(bureau: Bureau) -> bool:
    (found,) = await bureau.organisation.rows("SELECT count(*) AS waiting FROM pg_locks WHERE NOT granted")
    return found["waiting"] > 0


async def test_delegate_that_fails_is_told_to_who_asked(bureau: Bureau):
    other = await bureau.agent("Grace", config={"most_steps": 1})
    bureau.provider.stories = {"Part": [Turn(calls=[Asked("text_processing", SUMMARY)])]}
    asked = Asked("delegate", orjson.dumps({"agent": str(other), "query": "Part?"}).decode())
    bureau.provider.turns = [Turn(calls=[asked]), Turn(["It could not."])]
    id = await bureau.begin(await bureau.agent(capabilities=["delegate"]))
    async with bureau.working():
        row = await bureau.ends(id)
    assert (row["status"], row["text"]) == ("completed", "It could not.")
    assert orjson.loads((await bureau.steps(id))[1]["error"])["code"] == "DELEGATE_ENDED"


async def test_delegates_that_recurse_end(bureau: Bureau):
    """An agent that asks itself comes to the depth that it may have."""
    id = await bureau.agent("Ouroboros", capabilities=["delegate"], config={"depth": 2})
    asked = Asked("delegate", orjson.dumps({"agent": str(id), "query": "And you?"}).decode())
    bureau.provider.turns = [Turn(calls=[asked]), Turn(["Enough."])]
    begun = await bureau.begin(id)
    async with bureau.working():
        row = await bureau.ends(begun)
    assert row["status"] == "completed"
    (deepest,) = await bureau.organisation.rows("SELECT max(depth) AS depth FROM executions")
    assert deepest["depth"] == 2


async def test_cancelled_run_ends_once_and_at_once(bureau: Bureau):
    """Nothing more is told after that, and the worker lets go."""
    bureau.provider.gate = asyncio.Event()
    id = await bureau.begin(await bureau.agent())
    async with bureau.working() as workers:
        await eventually(lambda: bureau.provider.written >= 1)
        await bureau.cancel(id)
        await bureau.cancel(id)
        row = await bureau.ends(id)
        bureau.provider.gate.set()
        await eventually(lambda: workers.running == 0)
    assert row["status"] == (await bureau.row(id))["status"] == "cancelled"
    assert (await bureau.told(id))[-1]["type"] == "cancelled"
    assert (await bureau.events(id)).count("cancelled") == 1


async def test_calls_of_one_id_are_told_apart(bureau: Bureau):
    """A provider that numbers badly: each call is done, and has its own result."""
    bureau.provider.turns = [
        Turn(calls=[Asked("text_processing", SUMMARY, "call_0"), Asked("nothing", id="call_0")]),
        Turn(["Done."]),
    ]
    id = await bureau.begin(await bureau.agent())
    async with bureau.working():
        row = await bureau.ends(id)
    assert (row["status"], row["text"]) == ("completed", "Done.")
    steps = await bureau.steps(id)
    assert [step["status"] for step in steps] == ["completed", "completed", "failed", "completed"]
    assert len({step["call_id"] for step in steps[1:3]}) == 2
