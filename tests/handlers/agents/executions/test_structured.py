"""Answers in the schema that is asked for: kept beside the text, asked for once more where they do not fit, then failed."""

import asyncio
from typing import Any

import orjson

from handlers.models.extractive import ExtractiveModel
from tests.handlers.agents.executions.bureau import Bureau, text_of
from tests.harness.fake_provider import Asked, Turn
from tests.harness.waiting import eventually

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"total": {"type": "number"}},
    "required": ["total"],
    "additionalProperties": False,
}
SUMMARY = '{"task": "summarize", "text": "One thing. Another thing."}'
GOOD, BAD = Turn(['{"total"', ": 12.5}"]), Turn(["It is ", "twelve."])


def once_more(*turns: Turn) -> dict[str, Any]:
    """What the provider says when it is told what was wrong."""
    return {"Answer once more": turns}


def error_of(row: Any) -> tuple[str, str]:
    error = orjson.loads(row["error"])
    return error["code"], error["message"]


async def test_answer_is_parsed_beside_its_text(bureau: Bureau):
    """What was written before tools were called is no part of it; the endpoint is told the schema at each turn."""
    bureau.provider.turns = [Turn(["Let me see."], [Asked("text_processing", SUMMARY)]), GOOD]
    id = await bureau.begin(await bureau.agent(config={"output_schema": SCHEMA}))
    async with bureau.working():
        row = await bureau.ends(id)
    assert (row["status"], row["text"]) == ("completed", 'Let me see.\n\n{"total": 12.5}')
    assert orjson.loads(row["output"]) == {"total": 12.5}
    assert (await bureau.told(id))[-1]["output"] == {"total": 12.5}
    for asked in bureau.provider.calls:
        assert asked["response_format"]["json_schema"]["schema"] == SCHEMA


async def test_schema_of_the_request_wins(bureau: Bureau):
    other = {"type": "object", "properties": {"sum": {"type": "string"}}}
    bureau.provider.turns = [GOOD]
    id = await bureau.begin(await bureau.agent(config={"output_schema": other}), output_schema=SCHEMA)
    async with bureau.working():
        row = await bureau.ends(id)
    assert orjson.loads(row["output"]) == {"total": 12.5}
    (asked,) = bureau.provider.calls
    assert asked["response_format"]["json_schema"]["schema"] == SCHEMA


async def test_without_a_schema_there_is_no_output(bureau: Bureau):
    """JSON that a model writes by itself is text."""
    bureau.provider.turns = [GOOD]
    id = await bureau.begin(await bureau.agent())
    async with bureau.working():
        row = await bureau.ends(id)
    assert (row["output"], row["text"]) == (None, '{"total": 12.5}')
    assert "response_format" not in bureau.provider.calls[0]


async def test_answer_that_does_not_fit_is_asked_for_once_more(bureau: Bureau):
    """The model is told what is wrong; its readers, that what they have is void; the first answer stands in its step."""
    bureau.provider.turns, bureau.provider.stories = [BAD], once_more(GOOD)
    id = await bureau.begin(await bureau.agent(config={"output_schema": SCHEMA}))
    async with bureau.working():
        row = await bureau.ends(id)
    assert (row["status"], row["text"], row["output"]) == ("completed", '{"total": 12.5}', '{"total":12.5}')
    first, second = await bureau.steps(id)
    assert (first["status"], first["text"], first["output"]) == ("failed", "", "It is twelve.")
    assert error_of(first) == ("OUTPUT_INVALID", "output: It is no JSON")
    assert (second["status"], second["text"]) == ("completed", '{"total": 12.5}')
    *_, answer, correction = bureau.provider.calls[-1]["messages"]
    assert (answer["role"], answer["content"]) == ("assistant", "It is twelve.")
    assert "output: It is no JSON" in correction["content"]
    told = await bureau.told(id)
    assert [each["text"] for each in told if each["type"] == "restarted"] == [""]
    assert text_of(told) == row["text"]


async def test_answer_that_does_not_fit_again_fails(bureau: Bureau):
    """By the error's own name, with what is wrong; nothing of it is the execution's text."""
    bureau.provider.turns, bureau.provider.stories = [BAD], once_more(Turn(['{"total": "x"}']))
    id = await bureau.begin(await bureau.agent(config={"output_schema": SCHEMA}))
    async with bureau.working():
        row = await bureau.ends(id)
    assert (row["status"], row["text"], row["output"]) == ("failed", "", None)
    code, message = error_of(row)
    assert code == "OUTPUT_INVALID"
    assert message.startswith("output.total: ")
    assert [step["output"] for step in await bureau.steps(id)] == ["It is twelve.", '{"total": "x"}']
    assert len(bureau.provider.calls) == 2


async def test_answer_that_is_cut_says_by_what(bureau: Bureau):
    bureau.provider.turns = [Turn(['{"total": 1'], ends="length")]
    bureau.provider.stories = once_more(Turn(['{"total": 1'], ends="length"))
    id = await bureau.begin(await bureau.agent(config={"output_schema": SCHEMA, "most_tokens": 9}))
    async with bureau.working():
        row = await bureau.ends(id)
    assert error_of(row) == ("OUTPUT_INVALID", "output: It is no JSON; it was cut at most_tokens, 9")


async def test_tools_may_be_called_between_the_two_answers(bureau: Bureau):
    """A model that is told that something is missing may look it up."""
    bureau.provider.turns = [BAD]
    bureau.provider.stories = once_more(Turn(calls=[Asked("text_processing", SUMMARY)]), GOOD)
    id = await bureau.begin(await bureau.agent(config={"output_schema": SCHEMA}))
    async with bureau.working():
        row = await bureau.ends(id)
    assert (row["status"], row["output"]) == ("completed", '{"total":12.5}')
    assert [step["status"] for step in await bureau.steps(id)] == ["failed", "completed", "completed", "completed"]


async def test_worker_that_dies_before_the_second_answer(bureau: Bureau):
    """Another asks for it, and not for a third: what was refused is kept."""
    bureau.provider.turns, bureau.provider.stories = [Turn(["It is twelve."])], once_more(GOOD)
    bureau.provider.gate = asyncio.Event()
    id = await bureau.begin(await bureau.agent(config={"output_schema": SCHEMA}))
    async with bureau.working():
        await eventually(lambda: bureau.provider.written == 2)
    bureau.provider.gate.set()
    async with bureau.working():
        row = await bureau.ends(id)
    assert (row["status"], row["attempt"], row["text"]) == ("completed", 2, '{"total": 12.5}')
    assert [step["status"] for step in await bureau.steps(id)] == ["failed", "completed"]
    assert text_of(await bureau.told(id)) == row["text"]


async def test_extractive_model_fills_the_schema_or_says_why_not(bureau: Bureau):
    """By what the tool gave; and it is asked once only."""
    bureau.model = ExtractiveModel()
    schema = {"properties": {"summary": {"type": "string"}}, "required": ["summary"]}
    query = "Summarize: One thing. Another thing."
    agent = await bureau.agent(capabilities=["text_processing"])
    filled = await bureau.begin(agent, query, output_schema=schema)
    refused = await bureau.begin(agent, query, output_schema=SCHEMA)
    async with bureau.working():
        rows = [await bureau.ends(id) for id in (filled, refused)]
    assert orjson.loads(rows[0]["output"]) == orjson.loads(rows[0]["text"])
    assert "thing" in orjson.loads(rows[0]["output"])["summary"]
    code, message = error_of(rows[1])
    assert code == "OUTPUT_INVALID"
    assert message.endswith("No tool gave what the schema asks for: total")
    assert len(await bureau.steps(refused)) == 2


async def test_delegate_answers_with_its_output(bureau: Bureau):
    """Without what it wrote on the way."""
    other = await bureau.agent("Grace", config={"output_schema": SCHEMA})
    asked = Asked("delegate", orjson.dumps({"agent": str(other), "query": "Part?"}).decode())
    part = [Turn(["Let me see."], [Asked("text_processing", SUMMARY)]), GOOD]
    bureau.provider.stories = {"Part": part}
    bureau.provider.turns = [Turn(calls=[asked]), Turn(["Twelve and a half."])]
    id = await bureau.begin(await bureau.agent(capabilities=["delegate"]))
    async with bureau.working():
        await bureau.ends(id)
    assert (await bureau.steps(id))[1]["output"] == '{"total":12.5}'
