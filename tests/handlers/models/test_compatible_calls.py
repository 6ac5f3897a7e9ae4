"""Calls of tools that a model behind an endpoint asks for: joined of their fragments, whatever an endpoint makes of these."""

from typing import Any

import pytest

from handlers.models.compatible import CompatibleModel
from handlers.models.model import Finished, Message, ModelError, Request, ToolCall
from tests.handlers.models.test_compatible import ASKED, turn_of
from tests.harness.fake_provider import FakeProvider, instead, part


def fragment(**call: Any) -> bytes:
    return part({"tool_calls": [call]})


@pytest.mark.parametrize(
    ("parts", "calls"),
    [
        pytest.param(
            [
                fragment(index=0, id="a", function={"name": "one", "arguments": ""}),
                fragment(index=1, id="b", function={"name": "two", "arguments": '{"y"'}),
                fragment(index=0, function={"arguments": '{"x": 1}'}),
                fragment(index=1, function={"arguments": ": 2}"}),
            ],
            [("a", "one", '{"x": 1}'), ("b", "two", '{"y": 2}')],
            id="interleaved",
        ),
        pytest.param(
            [
                fragment(id="a", function={"name": "one", "arguments": "{}"}),
                fragment(id="b", function={"name": "two", "arguments": {"y": 2}}),
            ],
            [("a", "one", "{}"), ("b", "two", '{"y":2}')],
            id="without numbers, one as an object",
        ),
        pytest.param(
            [
                fragment(index=0, id="a", function={"name": "one", "arguments": "{}"}),
                fragment(index=0, id="b", function={"name": "two", "arguments": "{}"}),
            ],
            [("a", "one", "{}"), ("b", "two", "{}")],
            id="the same number",
        ),
        pytest.param(
            [
                fragment(index=0, id="a", function={"name": "one", "arguments": "{"}),
                fragment(index=0, id="a", function={"name": "one", "arguments": "}"}),
                fragment(index=0, id=None, function={"name": None, "arguments": None}),
            ],
            [("a", "one", "{}")],
            id="all comes again",
        ),
        pytest.param(
            [fragment(index=0, id="a", function={"name": "one"})], [("a", "one", "{}")], id="without arguments"
        ),
        pytest.param(
            [fragment(index=0, id="a", function={"name": "one", "arguments": '{"broken'})],
            [("a", "one", '{"broken')],
            id="broken arguments",
        ),
    ],
)
async def test_calls_are_joined_of_their_fragments(
    provider: FakeProvider, model: CompatibleModel, parts: list[bytes], calls: list[tuple[str, str, str]]
):
    """Also as sloppy endpoints write them, some of which say `stop` then."""
    provider.faults.append(instead(*parts, part({}, "stop"), b"data: [DONE]\n\n"))
    *told, end = await turn_of(model, Request(ASKED, 100))
    assert [(call.id, call.name, call.arguments) for call in told if isinstance(call, ToolCall)] == calls
    assert end == Finished("calls", "tiny")


async def test_call_without_an_id_gets_one(provider: FakeProvider, model: CompatibleModel):
    provider.faults.append(instead(fragment(index=0, function={"name": "one", "arguments": "{}"}), part({}, "stop")))
    call = (await turn_of(model, Request(ASKED, 100)))[0]
    assert isinstance(call, ToolCall)
    assert call.id


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([fragment(index=0, id="a", function={"arguments": "{}"}), part({}, "stop")], id="no name"),
        pytest.param([part({"tool_calls": 7})], id="a number"),
        pytest.param([part({"tool_calls": ["a"]})], id="words"),
        pytest.param([fragment(index=0, id="a", function={"name": 7})], id="a name that is none"),
        pytest.param([fragment(index=n, id=f"{n}", function={"name": "a"}) for n in range(65)], id="too many"),
        pytest.param([fragment(index=0, id="a", function={"name": "a", "arguments": "x" * 300_000})], id="too long"),
        pytest.param([part({}, "content_filter")], id="a filter"),
    ],
)
async def test_calls_that_are_none(provider: FakeProvider, model: CompatibleModel, parts: list[bytes]):
    """They end the turn; nothing is called by guess."""
    provider.faults.append(instead(part({"content": "Yes"}), *parts))
    with pytest.raises(ModelError):
        await turn_of(model, Request(ASKED, 100))


async def test_arguments_that_were_broken_are_not_sent_back(provider: FakeProvider, model: CompatibleModel):
    """Endpoints that read them would refuse the conversation for ever; the result says what was wrong."""
    calls = (ToolCall("a", "one", '{"broken'), ToolCall("b", "two", '{"x": 1}'))
    results = [Message("tool", "Error: no JSON", call_id="a"), Message("tool", "2", call_id="b")]
    await turn_of(model, Request([*ASKED, Message("assistant", "", calls), *results], 100))
    sent = provider.calls[-1]["messages"]
    assert [call["function"]["arguments"] for call in sent[2]["tool_calls"]] == ["{}", '{"x": 1}']
    assert [message.get("tool_call_id") for message in sent[3:]] == ["a", "b"]
