"""The endpoint's side of vectors, over HTTP: what is sent, what is taken, and how each fault ends."""

import asyncio
from typing import Any

import numpy as np
import pytest

from core.clock import SystemClock
from handlers.knowledge.embedding.embedder import EmbedderAway, TextRefused
from handlers.knowledge.embedding.endpoint import TEXTS_A_CALL, EndpointEmbedder
from handlers.knowledge.embedding.questions import Questions
from handlers.webhooks.circuit import FAILURES
from tests.handlers.knowledge.embedding.endpoint import FakeEndpoint, Fault, changed, status, vector_of
from tests.harness.clock import ManualClock
from tests.harness.waiting import eventually


@pytest.mark.parametrize("as_numbers", [True, False])
async def test_vectors_come_in_the_texts_order_and_of_length_one(
    endpoint: FakeEndpoint, embedder: EndpointEmbedder, as_numbers: bool
):
    """Also where the endpoint gives numbers though base64 was asked for, and in another order."""
    endpoint.as_numbers = as_numbers
    endpoint.faults.append(changed(lambda data: data[::-1]))
    rows = await embedder.embed(["one fish", "two"])
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    expected = np.array(vector_of("two", 8))
    assert np.allclose(rows[1], expected / np.linalg.norm(expected), atol=1e-6)
    assert (endpoint.calls[0]["model"], endpoint.keys[0]) == ("tiny", "Bearer sk-of-a-test")


async def test_many_texts_go_by_several_calls(endpoint: FakeEndpoint, embedder: EndpointEmbedder):
    """Servers bound what a call may have."""
    texts = [f"text {number}" for number in range(TEXTS_A_CALL + 1)]
    rows = await embedder.embed(texts)
    assert [len(call["input"]) for call in endpoint.calls] == [TEXTS_A_CALL, 1]
    assert len(rows) == len(texts)


async def test_call_that_was_told_to_wait_is_made_again(endpoint: FakeEndpoint, embedder: EndpointEmbedder):
    """429 and 500 are of the moment."""
    endpoint.faults.extend([status(429, **{"Retry-After": "0.01"}), status(500, **{"Retry-After": "0.01"})])
    assert (await embedder.embed(["a text"])).shape == (1, 8)
    assert len(endpoint.calls) == 3


def _first(data: list[dict[str, Any]], embedding: Any) -> list[dict[str, Any]]:
    return [data[0] | {"embedding": embedding}, *data[1:]]


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(changed(lambda data: data[:1]), id="fewer vectors than texts"),
        pytest.param(changed(lambda data: data * 2), id="more vectors than texts"),
        pytest.param(changed(lambda data: _first(data, [1.0, 2.0])), id="other dimensions"),
        pytest.param(changed(lambda data: _first(data, [])), id="no dimensions"),
        pytest.param(changed(lambda data: _first(data, [0.0] * 8)), id="zeros"),
        pytest.param(changed(lambda data: _first(data, [1e39] + [0.0] * 7)), id="too large"),
        pytest.param(changed(lambda data: _first(data, ["x"] * 8)), id="words"),
        pytest.param(changed(lambda data: _first(data, "AADAfw==" * 8)), id="NaN"),
        pytest.param(changed(lambda data: _first(data, "no base64!")), id="no base64"),
        pytest.param(changed(lambda _: None), id="nothing"),
        pytest.param(changed(lambda _: [[1.0], [2.0]]), id="no objects"),
        pytest.param(status(401), id="401"),
        pytest.param(status(404), id="404"),
    ],
)
async def test_wrong_answer_is_an_error_and_the_next_right_one_is_taken(
    endpoint: FakeEndpoint, embedder: EndpointEmbedder, fault: Fault
):
    """Nothing that an endpoint answers becomes a vector that is none."""
    endpoint.faults.append(fault)
    with pytest.raises(EmbedderAway):
        await embedder.embed(["one", "two"])
    assert (await embedder.embed(["one", "two"])).shape == (2, 8)


async def test_dimensions_are_those_of_the_first_answer(endpoint: FakeEndpoint, embedder: EndpointEmbedder):
    """A model that changes beneath its name would be compared with itself wrongly."""
    await embedder.embed(["one"])
    endpoint.dimensions = 16
    with pytest.raises(EmbedderAway, match="16 dimensions, not 8"):
        await embedder.embed(["one"])


async def test_text_that_is_refused_is_told_apart(endpoint: FakeEndpoint, embedder: EndpointEmbedder):
    """It is no fault of the endpoint's: the circuit stays closed however often that is."""
    endpoint.refuses = "long"
    for _ in range(FAILURES + 1):
        with pytest.raises(TextRefused):
            await embedder.embed(["a long text"])
    assert (await embedder.embed(["a text"])).shape == (1, 8)


async def test_endpoint_that_fails_is_left_alone_for_a_while(
    endpoint: FakeEndpoint, embedder: EndpointEmbedder, clock: ManualClock
):
    """Then questions cost nothing until it may be back."""
    endpoint.faults.extend([status(401)] * FAILURES)
    for _ in range(FAILURES + 3):
        with pytest.raises(EmbedderAway):
            await embedder.embed_question("anybody there?")
    assert len(endpoint.calls) == FAILURES
    await clock.advance(10)
    assert (await embedder.embed_question("anybody there?")).shape == (8,)


async def test_endpoint_that_stalls_is_left_alone_too(endpoint: FakeEndpoint, clock: ManualClock):
    """Else each question would wait for it as long as it may."""
    endpoint.gate = asyncio.Event()
    embedder = EndpointEmbedder(endpoint.url, None, "tiny", clock, question_seconds=0.02)
    for _ in range(FAILURES + 3):
        with pytest.raises(EmbedderAway):
            await embedder.embed_question("anybody there?")
    await eventually(lambda: 0 < len(endpoint.calls) <= FAILURES)
    await embedder.close()


async def test_nobody_there(clock: ManualClock):
    """A connection that is refused is a fault like another."""
    embedder = EndpointEmbedder("http://127.0.0.1:9/v1", None, "tiny", clock)
    with pytest.raises(EmbedderAway):
        await embedder.embed_question("anybody there?")
    await embedder.close()


async def test_question_that_takes_too_long_has_no_vector(endpoint: FakeEndpoint, embedder: EndpointEmbedder):
    """The search goes on by words; the endpoint is asked once, and not again in the next seconds."""
    endpoint.gate = asyncio.Event()
    questions = Questions({"tiny": embedder}.get, SystemClock(), patience=0.05)
    assert (await questions.vectors_of("slow?", ["tiny"])) == {}
    assert (await questions.vectors_of("slow?", ["tiny"])) == {}
    await eventually(lambda: len(endpoint.calls) == 1)
    endpoint.gate.set()


async def test_question_is_asked_once(endpoint: FakeEndpoint, embedder: EndpointEmbedder, clock: ManualClock):
    """Its vector is remembered; a model that nobody has gives none."""
    questions = Questions({"tiny": embedder}.get, clock)
    for _ in range(2):
        found = await questions.vectors_of("what is it?", ["tiny", "unknown"])
        assert list(found) == ["tiny"]
    assert len(endpoint.calls) == 1
