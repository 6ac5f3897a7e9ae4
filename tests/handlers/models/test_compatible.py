"""A model behind an endpoint, over HTTP: what is sent, what is taken, and how each fault ends."""

import asyncio
from contextlib import aclosing

import pytest

from handlers.models.compatible import CompatibleModel
from handlers.models.model import Message, ModelError
from handlers.webhooks.circuit import FAILURES
from tests.handlers.models.provider import FakeProvider, Fault, after_one_word, event, status, still
from tests.harness.clock import ManualClock
from tests.harness.waiting import eventually

ASKED = [Message("system", "Be brief."), Message("user", "How?")]


async def written(model: CompatibleModel) -> list[str]:
    async with aclosing(model.write(ASKED, most_tokens=100)) as pieces:
        return [piece async for piece in pieces]


async def test_text_comes_as_it_is_written(provider: FakeProvider, model: CompatibleModel):
    """The first piece before the last is written."""
    provider.gate = asyncio.Event()
    async with aclosing(model.write(ASKED, most_tokens=100)) as pieces:
        assert await anext(pieces) == "Install it "
        assert provider.written == 1
        provider.gate.set()
        assert [piece async for piece in pieces] == ["with pip [1]."]
    (call,) = provider.calls
    assert call["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How?"}]
    assert (call["model"], call["max_tokens"], call["stream"]) == ("tiny", 100, True)
    assert provider.keys == ["Bearer sk-of-a-test"]


async def test_who_is_told_to_wait_asks_once_more(provider: FakeProvider, model: CompatibleModel):
    """Before the first word nothing is lost by it."""
    provider.faults.append(status(429, **{"Retry-After": "0.01"}))
    assert await written(model) == list(provider.pieces)
    assert len(provider.calls) == 2


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([status(429, **{"Retry-After": "0.01"})] * 2, id="429 and again"),
        pytest.param([status(500, **{"Retry-After": "0.01"})] * 2, id="500 and again"),
        pytest.param([status(401)], id="401"),
        pytest.param([status(400)], id="400"),
        pytest.param([after_one_word(None)], id="cut"),
        pytest.param([after_one_word(b"")], id="ended early"),
        pytest.param([after_one_word(b"data: {broken\n\n")], id="no JSON"),
        pytest.param([after_one_word(event({"error": {"message": "overloaded"}}))], id="error in mid-stream"),
        pytest.param([after_one_word(event([1]))], id="no object"),
        pytest.param([after_one_word(event({"choices": 7}))], id="choices are a number"),
        pytest.param([after_one_word(event({"choices": ["a"]}))], id="choices are words"),
        pytest.param([after_one_word(event({"choices": [{"delta": {"content": 7}}]}))], id="no text"),
    ],
)
async def test_fault_is_an_error_of_the_model(provider: FakeProvider, model: CompatibleModel, faults: list[Fault]):
    """One that says neither the key nor what the endpoint says, and the next call is made again."""
    provider.faults.extend(faults)
    with pytest.raises(ModelError) as caught:
        await written(model)
    assert "sk-" not in str(caught.value)
    assert "as the test wants" not in str(caught.value)
    assert await written(model) == list(provider.pieces)


async def test_stream_that_stands_still_is_given_up(provider: FakeProvider, clock: ManualClock):
    provider.faults.append(still())
    model = CompatibleModel(provider.url, "tiny", None, clock, stalled=0.1)
    with pytest.raises(ModelError):
        await written(model)
    await model.close()


async def test_who_stops_listening_ends_the_writing(provider: FakeProvider, model: CompatibleModel):
    """The endpoint is told by the connection's end, so that nothing is written, and paid, for nobody."""
    provider.gate = asyncio.Event()
    async with aclosing(model.write(ASKED, most_tokens=100)) as pieces:
        await anext(pieces)
    await eventually(lambda: provider.left == 1)


async def test_endpoint_that_fails_is_left_alone_for_a_while(
    provider: FakeProvider, model: CompatibleModel, clock: ManualClock
):
    """Then nobody waits for it; refusals of single requests do not count."""
    provider.faults.extend([status(400)] * FAILURES)
    provider.faults.extend([status(401)] * FAILURES)
    for _ in range(2 * FAILURES + 3):
        with pytest.raises(ModelError):
            await written(model)
    assert len(provider.calls) == 2 * FAILURES
    await clock.advance(10)
    assert await written(model) == list(provider.pieces)


async def test_model_that_thinks_is_asked_as_it_wants(provider: FakeProvider, model: CompatibleModel):
    """Such models refuse `max_tokens` and `temperature`; that is found out once."""
    provider.faults.append(status(400, param="max_tokens"))
    assert await written(model) == list(provider.pieces)
    assert await written(model) == list(provider.pieces)
    assert [("max_tokens" in call, "temperature" in call) for call in provider.calls] == [
        (True, True),
        (False, False),
        (False, False),
    ]
    assert provider.calls[1]["max_completion_tokens"] > 100


async def test_nobody_there(clock: ManualClock):
    model = CompatibleModel("http://127.0.0.1:9/v1", "tiny", None, clock)
    with pytest.raises(ModelError):
        await written(model)
    await model.close()
