"""What every model keeps to: one suite, over a compatible endpoint (the fake provider, on the wire) and the extractive model.

Whoever asks sees no difference but what is said: deltas, then whole calls, then one end.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace

import jsonschema
import orjson
import pytest

from handlers.models.compatible import CompatibleModel
from handlers.models.extractive import ExtractiveModel
from handlers.models.fallback import FallbackModel
from handlers.models.model import Delta, Finished, Message, Model, Request, ToolCall, ToolSpec, Written
from tests.harness.clock import ManualClock
from tests.harness.fake_provider import Asked, FakeProvider, Turn, serving, words_of

KNOWLEDGE = ToolSpec(
    "knowledge_query",
    "Looks it up.",
    {
        "type": "object",
        "properties": {"question": {"type": "string", "maxLength": 8000}},
        "required": ["question"],
        "additionalProperties": False,
    },
)
QUESTION = "How is it installed? Grüße, 你好 😀"
ASKED = [Message("system", "Be brief."), Message("user", QUESTION)]
ARGUMENTS = orjson.dumps({"question": QUESTION}).decode()
QUOTED = "With pip install aimatrix [1].\n\n  It takes 2 s [2]; Grüße 😀"
FOUND = orjson.dumps({"passages": [], "quoted": QUOTED, "supported": True}).decode()
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string"}, "sure": {"type": "boolean"}},
    "required": ["answer", "sure"],
    "additionalProperties": False,
}


@dataclass
class Subject:
    """A model, and how it is told what to say, where it does not know that by itself."""

    model: Model
    expect: Callable[[Sequence[Turn]], None]


@asynccontextmanager
async def compatible(clock: ManualClock) -> AsyncGenerator[Subject]:
    async with serving(FakeProvider()) as provider:
        model = CompatibleModel(provider.url, "tiny", "sk-of-a-test", clock)

        def expect(turns: Sequence[Turn]) -> None:
            provider.turns = turns

        yield Subject(model, expect)
        await model.close()


@asynccontextmanager
async def extractive(_clock: ManualClock) -> AsyncGenerator[Subject]:
    yield Subject(ExtractiveModel(), lambda _turns: None)


@asynccontextmanager
async def behind_another(clock: ManualClock) -> AsyncGenerator[Subject]:
    """One that is asked because the first refuses."""
    async with serving(FakeProvider(refuses={"model"})) as provider, compatible(clock) as subject:
        first = CompatibleModel(provider.url, "first", None, clock)
        yield replace(subject, model=FallbackModel([first, subject.model]))
        await first.close()


MAKERS = {"compatible": compatible, "extractive": extractive, "fallback": behind_another}


@pytest.fixture(params=list(MAKERS))
async def subject(request: pytest.FixtureRequest, clock: ManualClock) -> AsyncIterator[Subject]:
    async with MAKERS[request.param](clock) as made:
        yield made


async def turn_of(model: Model, request: Request) -> list[Written]:
    async with aclosing(model.respond(request)) as parts:
        return [part async for part in parts]


def text_in(turn: Sequence[Written]) -> str:
    return "".join(part.text for part in turn if isinstance(part, Delta))


async def test_conversation_with_a_tool(subject: Subject):
    """It asks for the tool with arguments that are whole JSON, takes the result, and answers in words; each turn has one end."""
    subject.expect([Turn(calls=[Asked("knowledge_query", ARGUMENTS)]), Turn(words_of(QUOTED))])
    *before, end = await turn_of(subject.model, Request(ASKED, 100, [KNOWLEDGE]))
    (call,) = before
    assert isinstance(call, ToolCall)
    assert (call.name, orjson.loads(call.arguments)) == ("knowledge_query", {"question": QUESTION})
    assert call.id
    assert isinstance(end, Finished)
    assert end.reason == "calls"
    so_far = [*ASKED, Message("assistant", "", (call,)), Message("tool", FOUND, call_id=call.id)]
    turn = await turn_of(subject.model, Request(so_far, 100, [KNOWLEDGE]))
    assert text_in(turn) == QUOTED
    assert all(isinstance(part, Delta) and part.text for part in turn[:-1])
    assert isinstance(turn[-1], Finished)
    assert turn[-1].reason == "stop"


async def test_tokens_are_counted(subject: Subject):
    """And who wrote it is told by the name that agents' configs have."""
    subject.expect([Turn(words_of(QUOTED))])
    end = (await turn_of(subject.model, Request(ASKED, 100)))[-1]
    assert isinstance(end, Finished)
    assert end.input_tokens == 2 + len(QUESTION.split())
    assert end.output_tokens
    assert end.model in ("tiny", "extractive")


async def test_structured_output_is_of_the_schema(subject: Subject):
    """What a tool has given, in the form that is asked for; a tool is called in the same way as without one."""
    told = {"answer": "With pip", "sure": True}
    subject.expect(
        [Turn(calls=[Asked("knowledge_query", ARGUMENTS)]), Turn(['{"answer": "With pip', '", "sure": true}'])]
    )
    request = Request(ASKED, 100, [KNOWLEDGE], schema=SCHEMA)
    call, end = await turn_of(subject.model, request)
    assert isinstance(call, ToolCall)
    assert isinstance(end, Finished)
    result = Message("tool", orjson.dumps({**told, "shelf": 4}).decode(), call_id=call.id)
    messages = [*ASKED, Message("assistant", "", (call,)), result]
    turn = await turn_of(subject.model, replace(request, messages=messages))
    jsonschema.validate(orjson.loads(text_in(turn)), SCHEMA)
    assert orjson.loads(text_in(turn)) == told
    assert isinstance(turn[-1], Finished)
    assert turn[-1].reason == "stop"


async def test_answer_that_is_asked_for_once_more(subject: Subject):
    """Between the two stands what is wrong with the first; it is no question of a person's, and no tool is called for it."""
    subject.expect([Turn(['{"answer": "With pip", "sure": true}'])])
    call = ToolCall("call_1", "knowledge_query", ARGUMENTS)
    result = Message("tool", '{"answer": "With pip", "sure": true}', call_id=call.id)
    wrong = [Message("assistant", "With pip."), Message("user", "It is no JSON", is_correction=True)]
    request = Request([*ASKED, Message("assistant", "", (call,)), result, *wrong], 100, [KNOWLEDGE], schema=SCHEMA)
    turn = await turn_of(subject.model, request)
    jsonschema.validate(orjson.loads(text_in(turn)), SCHEMA)
    assert not [part for part in turn if isinstance(part, ToolCall)]


async def test_answer_that_is_cut_says_so(subject: Subject):
    """And has no call, which may be half of one."""
    half = Asked("knowledge_query", '{"question": "How')
    subject.expect([Turn(["With pip"], [half], ends="length")])
    turn = await turn_of(subject.model, Request(ASKED, 2))
    assert isinstance(turn[-1], Finished)
    assert turn[-1].reason == "length"
    assert not [part for part in turn if isinstance(part, ToolCall)]


async def test_same_question_twice_at_once(subject: Subject):
    """A model has no state between turns: two are told the same, and one that is given up disturbs none."""
    subject.expect([Turn(words_of(QUOTED))])
    request = Request(ASKED, 100)
    async with aclosing(subject.model.respond(request)) as given_up, aclosing(subject.model.respond(request)) as read:
        await anext(given_up)
        await given_up.aclose()
        first = [part async for part in read]
    assert first == await turn_of(subject.model, request)


async def test_text_alone(subject: Subject):
    """`write` gives the same text as pieces."""
    subject.expect([Turn(words_of(QUOTED))])
    async with aclosing(subject.model.write(ASKED, most_tokens=100)) as pieces:
        told = "".join([piece async for piece in pieces])
    assert told == text_in(await turn_of(subject.model, Request(ASKED, 100)))
    assert told
