"""A model behind an endpoint, over HTTP: what is sent, what is taken, and how each fault ends."""

import asyncio
from contextlib import aclosing
from typing import Any

import pytest
from aiohttp import web

from core.clock import SystemClock
from handlers.models.compatible import SILENT_SECONDS, CompatibleModel
from handlers.models.model import Delta, Finished, Message, ModelError, Request, Written
from handlers.webhooks.circuit import FAILURES
from tests.harness.clock import ManualClock
from tests.harness.fake_provider import (
    FakeProvider,
    Fault,
    after_one_word,
    begun,
    endless,
    event,
    instead,
    page,
    part,
    status,
    still,
)
from tests.harness.waiting import eventually

ASKED = [Message("system", "Be brief."), Message("user", "How?")]


async def turn_of(model: CompatibleModel, request: Request) -> list[Written]:
    async with aclosing(model.respond(request)) as parts:
        return [each async for each in parts]


async def written(model: CompatibleModel) -> str:
    async with aclosing(model.write(ASKED, most_tokens=100)) as pieces:
        return "".join([piece async for piece in pieces])


async def test_text_comes_as_it_is_written(provider: FakeProvider, model: CompatibleModel):
    """The first piece before the last is written; what comes together is one."""
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
    provider.faults.append(status(429, **{"Retry-After": "0"}))
    assert await written(model) == provider.text
    assert len(provider.calls) == 2


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([status(429, **{"Retry-After": "0"})] * 2, id="429 and again"),
        pytest.param([status(500, **{"Retry-After": "0"})] * 2, id="500 and again"),
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
    assert await written(model) == provider.text


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
    assert await written(model) == provider.text


async def test_endpoint_that_has_much_to_do_is_still_asked(provider: FakeProvider, model: CompatibleModel):
    """Those whom it has no time for fail alone."""
    provider.faults.extend([status(429, **{"Retry-After": "60"})] * (FAILURES + 1))
    for _ in range(FAILURES + 1):
        with pytest.raises(ModelError, match="429"):
            await written(model)
    assert await written(model) == provider.text


async def test_who_finds_out_whether_it_is_well_again_is_one(
    provider: FakeProvider, model: CompatibleModel, clock: ManualClock
):
    """The others are still told at once, until that one has an answer."""
    provider.faults.extend([status(401)] * FAILURES)
    for _ in range(FAILURES):
        with pytest.raises(ModelError):
            await written(model)
    await clock.advance(10)
    provider.gate = asyncio.Event()
    async with aclosing(model.write(ASKED, most_tokens=100)) as probing:
        await anext(probing)
        with pytest.raises(ModelError, match="left alone"):
            await written(model)
        provider.gate.set()
        assert [piece async for piece in probing]
    assert await written(model) == provider.text


async def test_model_that_thinks_is_asked_as_it_wants(provider: FakeProvider, model: CompatibleModel):
    """Such models refuse `max_tokens` and `temperature`; that is found out once."""
    provider.refuses = {"max_tokens", "temperature"}
    assert await written(model) == provider.text
    assert await written(model) == provider.text
    assert [("max_tokens" in call, "temperature" in call) for call in provider.calls] == [
        (True, True),
        (False, False),
        (False, False),
    ]
    assert provider.calls[1]["max_completion_tokens"] > 100


async def test_what_an_endpoint_refuses_is_left_out_from_then_on(provider: FakeProvider, model: CompatibleModel):
    """Without `stream_options` nobody tells what was used; without `response_format` the schema is told in words."""
    provider.refuses = {"stream_options", "response_format", "max_tokens"}
    request = Request(ASKED, 100, schema={"type": "object", "title": "of the test"})
    for _ in range(2):
        end = (await turn_of(model, request))[-1]
        assert end == Finished("stop", "tiny")
    assert len(provider.calls) == 6  # four refusals, two answers
    assert "response_format" not in provider.calls[-1]
    assert "of the test" in provider.calls[-1]["messages"][0]["content"]


async def test_request_that_is_refused_teaches_nothing(provider: FakeProvider, model: CompatibleModel):
    """A number of tokens that is too high is one request's fault: the next is asked as before."""
    provider.faults.extend([status(400, param="max_tokens")] * 2)
    with pytest.raises(ModelError) as caught:
        await written(model)
    assert caught.value.is_final
    assert await written(model) == provider.text
    assert "max_tokens" in provider.calls[-1]


async def test_endpoint_that_wants_a_moment_gets_it(provider: FakeProvider, model: CompatibleModel, clock: ManualClock):
    """What it asks for, and no more than a run has time for."""
    provider.faults.append(status(429, **{"Retry-After": "3"}))
    writing = asyncio.create_task(written(model))
    await eventually(lambda: clock.sleeping)
    await clock.advance(2.9)
    assert len(provider.calls) == 1
    await clock.advance(0.2)
    assert await writing == provider.text
    provider.faults.append(status(429, **{"Retry-After": "60"}))
    with pytest.raises(ModelError, match="429"):
        await written(model)
    assert len(provider.calls) == 3


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(instead(None), id="cut"),
        pytest.param(instead(b"data: {broken\n\n"), id="no JSON"),
        pytest.param(instead(event({"error": {"message": "overloaded"}})), id="error"),
        pytest.param(page(), id="a page"),
        pytest.param(instead(b"data: " + b"x" * (1 << 20) + b"xx\n\n"), id="one event of a MiB"),
    ],
)
async def test_what_fails_before_its_first_word_is_asked_once_more(
    provider: FakeProvider, model: CompatibleModel, clock: ManualClock, fault: Fault
):
    """Nobody has read anything of it."""
    provider.faults.append(fault)
    writing = asyncio.create_task(written(model))
    await eventually(lambda: clock.sleeping)
    await clock.advance(1)
    assert await writing == provider.text


async def test_answer_without_end_is_ended(provider: FakeProvider, model: CompatibleModel):
    """By its length, whatever number of tokens was asked for; and the endpoint is told to stop."""
    provider.faults.append(endless())
    with pytest.raises(ModelError, match="too long") as caught:
        await written(model)
    assert caught.value.is_final
    await eventually(lambda: provider.left == 1)


async def test_endpoint_that_only_says_that_it_lives_is_given_up(
    provider: FakeProvider, model: CompatibleModel, clock: ManualClock
):
    """Comments keep a connection open; they are no answer."""
    heard = asyncio.Event()

    async def keep_alive(_provider: FakeProvider, request: web.Request) -> web.StreamResponse:
        response = await begun(request)
        while True:
            await response.write(b": waiting\n\n")
            heard.set()
            await asyncio.sleep(0)

    provider.faults.append(keep_alive)
    writing = asyncio.create_task(written(model))
    await heard.wait()
    await clock.advance(SILENT_SECONDS + 1)
    with pytest.raises(ModelError, match="stands still"):
        await writing


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 5}, (3, 5)),
        ({"prompt_tokens": -1, "completion_tokens": "5"}, (None, None)),
        ([1], (None, None)),
    ],
    ids=["told", "nonsense", "a list"],
)
async def test_what_was_used_comes_behind_the_end(
    provider: FakeProvider, model: CompatibleModel, usage: Any, tokens: tuple[int | None, int | None]
):
    raw = (part({"content": "Yes"}), part({}, "stop"), event({"choices": [], "usage": usage}), b"data: [DONE]\n\n")
    provider.faults.append(instead(*raw))
    assert await turn_of(model, Request(ASKED, 100)) == [Delta("Yes"), Finished("stop", "tiny", *tokens)]


@pytest.mark.parametrize("behind", [b"data: {broken\n\n", None], ids=["no JSON", "cut"])
async def test_answer_that_is_whole_stays_so(provider: FakeProvider, model: CompatibleModel, behind: bytes | None):
    """Whatever comes behind its end."""
    provider.faults.append(instead(part({"content": "Yes"}), part({}, "stop"), behind))
    assert await turn_of(model, Request(ASKED, 100)) == [Delta("Yes"), Finished("stop", "tiny")]


async def test_connection_is_used_again(provider: FakeProvider, model: CompatibleModel):
    """After answers, and after refusals."""
    await written(model)
    provider.faults.append(status(400))
    with pytest.raises(ModelError):
        await written(model)
    await written(model)
    assert len(provider.peers) == 1


async def test_redirect_is_followed(provider: FakeProvider, model: CompatibleModel):
    """It keeps its body where the endpoint says so."""

    async def elsewhere(_provider: FakeProvider, request: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": str(request.url.with_query("again"))})

    provider.faults.append(elsewhere)
    assert await written(model) == provider.text


async def test_nul_is_left_out(provider: FakeProvider, model: CompatibleModel):
    """PostgreSQL keeps none."""
    provider.pieces = ["a\x00b", "\x00"]
    assert await written(model) == "ab"


async def test_nobody_there():
    """It is tried twice, and that is all."""
    model = CompatibleModel("http://127.0.0.1:9/v1", "tiny", None, SystemClock())
    with pytest.raises(ModelError):
        await written(model)
    await model.close()
