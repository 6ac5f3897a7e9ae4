"""Executions as clients meet them on a fresh hub, without a provider: waited for, begun, streamed, in the forms of version 1."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from core.store.engines import EngineUrls
from tests.faults.executing import server_sent
from tests.harness.hub_process import HubProcess
from tests.harness.organisations import Organisations
from tests.harness.rest_client import RestClient
from tests.harness.stream_client import open_stream
from tests.harness.transcripts import ENDS, transcript_of
from tests.harness.waiting import eventually
from tests.journeys.test_page import hub, key, organisation

__all__ = ["hub", "key", "organisation"]  # fixtures: one hub, without a provider, for those that need none

TEXT = "The return period is 30 days. Returns are free of charge.\n\nShipping to Norway takes five working days."
QUESTION = "How long is the return period?"


@pytest.fixture
async def client(hub: HubProcess, key: str) -> AsyncIterator[RestClient]:
    """A client of the hub without a provider."""
    async with RestClient(hub.base_url, key, timeout=60) as made:
        yield made


@pytest.fixture
async def agent(client: RestClient) -> str:
    """An agent that knows TEXT, made as the guide says."""
    base = (await client.call("POST", "/v2/knowledge", {"name": "Shop"})).body["id"]
    path = f"/v2/knowledge/{base}/documents"
    added = await client.call("POST", path, {"documents": [{"name": "returns.txt", "content": TEXT}]})
    assert added.status in (201, 202), added

    async def ready() -> bool:
        listed = await client.call("GET", f"{path}?status=ready")
        return bool(listed.body["data"])

    await eventually(ready, within=60)
    body = {"name": "Customer Support", "type": "assistant", "knowledge": [base]}
    made = await client.call("POST", "/v2/agents", body)
    assert made.status == 201, made
    return str(made.body["id"])


def is_the_answer(execution: Any) -> None:
    """It is completed, and quotes the document, with its name."""
    assert execution["status"] == "completed", execution
    assert "30 days" in execution["text"], execution
    assert {each["name"] for each in execution["citations"]} == {"returns.txt"}


async def test_fresh_hub_answers_with_citations(client: RestClient, agent: str):
    """Waited for; nobody has configured a model."""
    answer = await client.call("POST", f"/v2/agents/{agent}/execute", {"query": QUESTION, "context": {"order": 4711}})
    assert answer.status == 200, answer
    is_the_answer(answer.body)
    assert answer.body["context"] == {"order": 4711}
    shown = await client.call("GET", f"/v2/executions/{answer.body['id']}")
    is_the_answer(shown.body)
    steps = (await client.call("GET", f"/v2/executions/{answer.body['id']}/steps")).body["data"]
    assert {each["kind"] for each in steps} == {"model", "tool"}
    assert "knowledge_query" in {each["name"] for each in steps}
    for path in ("/v2/executions", f"/v2/agents/{agent}/executions"):
        listed = (await client.call("GET", path)).body
        assert [each["id"] for each in listed["data"]] == [answer.body["id"]]


async def test_nothing_found_is_said(client: RestClient, agent: str):
    """A question that the documents do not answer ends completed, without a citation."""
    answer = await client.call("POST", f"/v2/agents/{agent}/execute", {"query": "Who painted the ceiling of a chapel?"})
    assert (answer.status, answer.body["status"], answer.body["citations"]) == (200, "completed", []), answer
    assert answer.body["text"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/agents/{}/execute", {"query": QUESTION, "context": {}}),
        ("/v1/agents/execute", {"agent_id": "{}", "input": QUESTION}),
        ("/v1/agents/execute", {"agent_id": "{}", "input": {"query": QUESTION, "context": {"a": 1}}}),
    ],
    ids=["as in version 2", "text", "object"],
)
async def test_forms_of_version_one(client: RestClient, agent: str, path: str, body: dict[str, Any]):
    """All give the same answer, and say that they are deprecated."""
    sent = {name: agent if name == "agent_id" else value for name, value in body.items()}
    answer = await client.call("POST", path.format(agent), sent)
    assert answer.status == 200, answer
    is_the_answer(answer.body)
    assert "Deprecation" in answer.headers


async def test_begun_and_asked_for_later(client: RestClient, agent: str):
    """202 with its place; a repeat with the same key is the same run."""
    headers = {"Prefer": "respond-async", "Idempotency_Key": "once"}
    first, second = [
        await client.call("POST", f"/v2/agents/{agent}/execute", {"query": QUESTION}, **headers) for _ in range(2)
    ]
    assert first.status == 202, first
    assert first.headers["Location"] == second.headers["Location"]
    assert first.body["id"] == second.body["id"]

    async def ended() -> Any:
        shown = (await client.call("GET", first.headers["Location"])).body
        return shown if shown["status"] in ENDS else None

    is_the_answer(await eventually(ended))


async def test_streamed(client: RestClient, hub: HubProcess, key: str, agent: str):
    """Server-sent events from the start to the end; whoever follows later gets what was said first."""
    headers = {"Authorization": f"Bearer {key}", "Accept": "text/event-stream"}
    async with aiohttp.ClientSession(hub.base_url, headers=headers) as session:
        async with session.post(f"/v2/agents/{agent}/execute", json={"query": QUESTION}) as answer:
            assert (answer.status, answer.content_type) == (200, "text/event-stream")
            told = [(kind, data) async for kind, data in server_sent(answer)]
        execution = told[0][1]["execution_id"]
        async with session.get(f"/v2/executions/{execution}") as answer:
            later = [(kind, data) async for kind, data in server_sent(answer)]
    shown = (await client.call("GET", f"/v2/executions/{execution}")).body
    is_the_answer(shown)
    for each in (told, later):
        assert transcript_of(execution, [{"type": kind, "data": data} for kind, data in each]).check(shown) == []
    assert later[0][0] == "run.snapshot"


async def test_stranger_on_the_socket(client: RestClient, hub: HubProcess, urls: EngineUrls, agent: str):
    """Another organisation joins neither the run's room nor the session's, says nothing in them, and ends nothing."""
    session = (await client.call("POST", f"/v2/agents/{agent}/sessions", {})).body["id"]
    done = await client.call("POST", f"/v2/agents/{agent}/sessions/{session}/messages", {"text": QUESTION})
    execution = done.body["id"]
    rooms = [f"runs:{execution}", f"sessions:{session}"]
    stranger = await (await Organisations(urls.database_url).create()).key()
    async with open_stream(hub.stream_url, stranger) as socket:
        await socket.expect("welcome")
        refused = (await socket.subscribe(*rooms))["channels"]
        assert [each["error"]["code"] for each in refused] == ["CHANNEL_NOT_FOUND"] * 2
        for frame, code in (
            ({"type": "message", "session": session, "text": "Mine?"}, "RESOURCE_NOT_FOUND"),
            ({"type": "cancel", "session": session}, "RESOURCE_NOT_FOUND"),
            ({"type": "cancel", "execution": execution}, "RESOURCE_NOT_FOUND"),
            *(({"type": "history", "channel": room}, "CHANNEL_NOT_FOUND") for room in rooms),
        ):
            reply = await socket.ask(frame)
            assert (reply["type"], reply["error"]["code"]) == ("error", code), (frame, reply)
    page = (await client.call("GET", f"/v2/agents/{agent}/sessions/{session}/messages")).body
    assert page["data"][0]["text"] == QUESTION
    assert page["pagination"]["total"] == 2
