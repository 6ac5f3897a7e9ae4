"""Questions over REST: one base, several, as a whole, as events, and in a batch."""

from typing import Any

import orjson
import pytest
import pytest_asyncio

from tests.harness.organisations import Organisation
from tests.rest.one_door import ONE_DOOR, clock, key, organisation, rest
from tests.rest.server import RestServer

__all__ = ["clock", "key", "organisation", "rest"]  # fixtures

pytestmark = ONE_DOOR

JANE = {"Email": "jane.doe@acme.example", "Company": "Acme Rockets"}
ASKED = "What is Jane Doe's email?"


@pytest_asyncio.fixture(loop_scope="module")
async def base(rest: RestServer, key: str) -> str:
    """A contact, which is found when its 201 arrives."""
    body = {"name": "Jane Doe", "type": "contact", "data": JANE, "metadata": {"team": "sales"}}
    return (await rest.call("POST", "/v2/knowledge", key, body=body)).json()["id"]


async def asked(rest: RestServer, key: str, path: str, **body: Any) -> Any:
    answer = await rest.call("POST", path, key, body={"question": ASKED, **body})
    assert answer.status == 200, answer
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.json()


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_base_is_asked(rest: RestServer, key: str, base: str, version: str):
    told = await asked(rest, key, f"/{version}/knowledge/{base}/query")
    (result,) = told["results"]
    assert (result["knowledge_id"], result["name"], told["mode"]) == (base, "Jane Doe", "search")
    text = result["snippet"]["text"]
    assert "Email" in {text[at:to] for at, to in result["snippet"]["highlights"]}
    assert "answer" not in told


async def test_all_are_asked_or_those_of_a_type(rest: RestServer, key: str, base: str):
    for body, count in (({}, 1), ({"type": "contact"}, 1), ({"type": "other"}, 0), ({"knowledge": [base]}, 1)):
        assert len((await asked(rest, key, "/v2/knowledge/query", **body))["results"]) == count, body


async def test_field_is_answered_with_its_source(rest: RestServer, key: str, base: str):
    answer = (await asked(rest, key, f"/v2/knowledge/{base}/query", mode="answer"))["answer"]
    assert (answer["text"], answer["supported"], answer["generated"]) == ("jane.doe@acme.example [1]", True, False)
    assert [each["knowledge_id"] for each in answer["citations"]] == [base]


async def test_metadata_are_left_out_where_nobody_wants_them(rest: RestServer, key: str, base: str):
    path = f"/v2/knowledge/{base}/query"
    assert "metadata" in (await asked(rest, key, path))["results"][0]
    assert "metadata" not in (await asked(rest, key, path, include_metadata=False))["results"][0]


async def test_answer_comes_as_events(rest: RestServer, key: str, base: str):
    body = {"question": ASKED, "mode": "answer", "stream": True}
    answer = await rest.call("POST", f"/v2/knowledge/{base}/query", key, body=body)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/event-stream")
    assert "RateLimit" in answer.headers
    events = [
        dict(line.split(": ", 1) for line in each.split("\n")) for each in answer.body.decode().split("\n\n")[:-1]
    ]
    assert [each["event"] for each in events] == ["results", "answer.delta", "answer.completed"]
    results, delta, completed = (orjson.loads(each["data"]) for each in events)
    assert results["results"][0]["knowledge_id"] == base
    assert delta["text"] == completed["text"] == "jane.doe@acme.example [1]"


async def test_stream_that_is_refused_has_a_status(rest: RestServer, key: str, organisation: Organisation, base: str):
    body = {"question": ASKED, "stream": True}
    none = "01978f3e-5a75-7c3d-9b42-6f0d2c1e8a55"
    (await rest.call("POST", f"/v2/knowledge/{none}/query", key, body=body)).error(404, "RESOURCE_NOT_FOUND")
    poor = await organisation.key(["read:agents"])
    (await rest.call("POST", f"/v2/knowledge/{base}/query", poor, body=body)).error(403, "INSUFFICIENT_SCOPE")


@pytest.mark.parametrize("is_atomic", [False, True])
async def test_batch_has_answers_and_no_streams(rest: RestServer, key: str, base: str, is_atomic: bool):
    one = {"method": "POST", "path": f"/knowledge/{base}/query", "body": {"question": ASKED, "mode": "answer"}}
    told = await rest.call("POST", "/v2/batch", key, body={"operations": [one], "atomic": is_atomic})
    assert told.json()["results"][0]["body"]["answer"]["text"] == "jane.doe@acme.example [1]"
    streamed = {**one, "body": {"question": ASKED, "stream": True}}
    told = await rest.call("POST", "/v2/batch", key, body={"operations": [streamed], "atomic": is_atomic})
    assert b"NOT_ACCEPTABLE" in told.body


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"question": ""},
        {"question": " \n\t "},
        {"question": "a\u0000b"},
        {"question": "x" * 65_537},
        {"question": 7},
        {"question": "a", "max_results": 0},
        {"question": "a", "max_results": 101},
        {"question": "a", "mode": "guess"},
        {"question": "a", "maxResults": 5},
        {"question": "a", "stream": "yes"},
        {"question": "a", "filter": []},
    ],
)
async def test_bad_question_is_refused(rest: RestServer, key: str, base: str, body: dict[str, Any]):
    (await rest.call("POST", f"/v2/knowledge/{base}/query", key, body=body)).error(422, "VALIDATION_ERROR")


@pytest.mark.parametrize("question", ["a:* & !b | ('", '"' * 500, "-" * 500, "% _ \\ ' ; --", "ä" * 65_536, "(" * 9000])
async def test_syntax_of_a_query_means_nothing_bad(rest: RestServer, key: str, base: str, question: str):
    """Whatever is asked, it is an answer."""
    await asked(rest, key, f"/v2/knowledge/{base}/query", question=question, mode="answer")
