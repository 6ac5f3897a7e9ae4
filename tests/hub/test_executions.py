"""Executions over REST on a whole hub, whose model is the fake provider: waiting, streaming, version 1, actions, cancelling."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from core.store.engines import EngineUrls
from tests.handlers.agents.tools.mcp_server import listed, speaking
from tests.harness.engines import run
from tests.harness.hub_process import CHECKOUT, HubProcess, HubProcesses
from tests.harness.organisations import Organisation, Organisations
from tests.harness.outside import serving
from tests.harness.rest_client import Answer, RestClient
from tests.harness.waiting import eventually

EVENTS = {"Accept": "text/event-stream"}
LATER = {"Prefer": "respond-async"}
TOOLS = [{"name": "order", "description": "Looks up an order", "parameters": {"type": "object"}}]
# As the fake provider takes them.
STORIES = {
    "order": [
        {"pieces": ["I look. "], "calls": [{"name": "order", "arguments": {"number": 4711}}]},
        {"pieces": ["It is ", "on its way."]},
    ],
    "count": [
        {"calls": [{"name": "text_processing", "arguments": {"task": "summarize", "text": "One. Two."}}]},
        {"pieces": ["Done."]},
    ],
    "slowly": [{"words": 200, "rate": 20}],
    "book": [{"calls": [{"name": "lib__find", "arguments": {}}]}, {"pieces": ["It is there."]}],
    "total": [{"pieces": ['{"total": ', "12.5}"]}],
}
TOTAL = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """The address of a provider, a process, that says what the word in the query stands for."""
    command = (sys.executable, "-m", "tests.harness.fake_provider", "--port", "0")
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = f"http://127.0.0.1:{process.stdout.readline().strip()}"
        run(tell(url))
        yield url
        process.terminate()


async def tell(provider: str) -> None:
    """Tell a provider what it says."""
    script = {"turns": [{"pieces": ["Install it ", "with pip."]}], "stories": STORIES}
    async with aiohttp.ClientSession() as session, session.put(f"{provider}/script", json=script) as answer:
        assert answer.status == 200


@pytest.fixture(scope="module")
def hub(urls: EngineUrls, provider: str) -> Iterator[HubProcess]:
    """One node, whose model this provider's is."""
    processes = HubProcesses()
    environment = {"HUB_MODEL_URL": f"{provider}/v1", "HUB_MODEL_NAME": "fake", "HUB_OUTBOUND_ALLOW": "127.0.0.0/8"}
    yield run(processes.start(urls=urls, environment=environment))
    processes.end()


@pytest.fixture
async def organisation(urls: EngineUrls) -> Organisation:
    return await Organisations(urls.database_url).create()


@pytest.fixture
async def client(hub: HubProcess, organisation: Organisation) -> AsyncIterator[RestClient]:
    async with RestClient(hub.base_url, await organisation.key(), timeout=60) as made:
        yield made


async def agent(client: RestClient, **config: Any) -> str:
    made = await client.call("POST", "/v2/agents", {"name": "Ada", "config": config})
    assert made.status == 201, made
    return made.body["id"]


async def execute(client: RestClient, id: str, query: str, headers: Any = None, **more: Any) -> Answer:
    return await client.call("POST", f"/v2/agents/{id}/execute", {"query": query, **more}, **(headers or {}))


@asynccontextmanager
async def streamed(
    client: RestClient, method: str, path: str, body: Any = None
) -> AsyncGenerator[AsyncGenerator[tuple[str, Any]]]:
    """Give the events of an answer that is streamed."""
    async with (
        aiohttp.ClientSession(headers=client._headers) as session,  # pyright: ignore[reportPrivateUsage]
        session.request(method, client.base_url + path, json=body, headers=EVENTS) as response,
    ):
        assert response.status == 200, await response.text()
        assert response.headers["Content-Type"] == "text/event-stream"
        yield _events(response)


async def _events(response: aiohttp.ClientResponse) -> AsyncGenerator[tuple[str, Any]]:
    type = ""
    async for line in response.content:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name == "event":
            type = value
        elif name == "data":
            yield type, orjson.loads(value)


async def test_execute_waits_for_the_answer(client: RestClient):
    """The answer of a request that waits is the whole execution; it stands where it is looked at, and in the lists."""
    id = await agent(client)
    done = await execute(client, id, "How?", context={"user": "4711"})
    assert done.status == 200, done
    assert (done.body["status"], done.body["text"]) == ("completed", "Install it with pip.")
    assert done.body["context"] == {"user": "4711"}
    assert done.body["usage"]["steps"] == 1
    path = f"/v2/executions/{done.body['id']}"
    assert (await client.call("GET", path)).body == done.body
    for place in ("/v2/executions", f"/v2/agents/{id}/executions"):
        page = (await client.call("GET", place)).body
        assert [each["id"] for each in page["data"]] == [done.body["id"]]
    assert page["data"] == [done.body]
    (step,) = (await client.call("GET", f"{path}/steps")).body["data"]
    assert (step["kind"], step["text"], step["status"]) == ("model", "Install it with pip.", "completed")


async def test_a_repeat_with_the_same_key_gets_the_same_execution(client: RestClient):
    """It waits for that, and begins no other."""
    id = await agent(client)
    headers = {"Idempotency_Key": "once"}
    first, second = [await execute(client, id, "How?", headers) for _ in range(2)]
    assert first.body == second.body
    assert second.headers["Idempotent-Replayed"] == "true"
    assert len((await client.call("GET", "/v2/executions")).body["data"]) == 1


async def test_execute_answers_at_once_where_it_is_asked_to(client: RestClient):
    """202 and where it is looked at; there it ends."""
    id = await agent(client)
    begun = await execute(client, id, "How?", LATER)
    assert begun.status == 202
    assert begun.headers["Location"] == f"/v2/executions/{begun.body['id']}"

    async def ended() -> Any:
        found = (await client.call("GET", begun.headers["Location"])).body
        return found if found["status"] == "completed" else None

    assert (await eventually(ended))["text"] == "Install it with pip."


async def test_execute_streams(client: RestClient):
    """A snapshot, deltas from its sequence on, and one end; who follows later gets the rest in the same way."""
    id = await agent(client)
    async with streamed(client, "POST", f"/v2/agents/{id}/execute", {"query": "slowly"}) as events:
        type, snapshot = await anext(events)
        assert type == "run.snapshot"
        path = f"/v2/executions/{snapshot['execution_id']}"
        first = asyncio.ensure_future(read(events, snapshot))
        async with streamed(client, "GET", path) as others:
            type, snapshot = await anext(others)
            assert type == "run.snapshot"
            second = await read(others, snapshot)
        whole = "".join(f"word{number} " for number in range(200))
        assert await first == second == whole
    async with streamed(client, "GET", path) as events:
        assert [type async for type, _ in events] == ["run.snapshot", "run.completed"]


async def read(events: AsyncGenerator[tuple[str, Any]], snapshot: Any) -> str:
    """Return what a reader has in the end; fails at a gap, a double, or a missing end."""
    text, sequence, types = snapshot["text"], snapshot["sequence"], list[str]()
    async for type, data in events:
        types.append(type)
        if type == "run.delta":
            assert data["sequence"] == sequence + 1
            sequence = data["sequence"]
            text += data["text"]
        elif "text" in data:
            text, sequence = data["text"], data["sequence"]
    assert types[-1] == "run.completed"
    assert types.count("run.completed") == 1
    return text


async def test_version_1_has_its_two_forms(client: RestClient):
    """By the agent's path, and with the agent in the body, whose input is a text or an object."""
    id = await agent(client)
    by_path = await client.call("POST", f"/v1/agents/{id}/execute", {"query": "How?", "context": {"a": 1}})
    assert (by_path.status, by_path.body["status"]) == (200, "completed")
    for input in ("How?", {"query": "How?", "context": {"a": 1}}):
        done = await client.call("POST", "/v1/agents/execute", {"agent_id": id, "input": input})
        assert (done.status, done.body["text"]) == (200, "Install it with pip."), done
    wrong = await client.call("POST", "/v1/agents/execute", {"agent_id": id, "input": {"question": "How?"}})
    assert (wrong.status, wrong.code) == (422, "VALIDATION_ERROR")


async def test_a_tool_of_the_caller_is_answered(client: RestClient):
    """The run waits for its caller, and goes on with what that brings; a wrong answer changes nothing."""
    id = await agent(client)
    waits = await execute(client, id, "order", tools=TOOLS)
    assert (waits.status, waits.body["status"]) == (202, "requires_action"), waits
    (call,) = waits.body["action"]["calls"]
    id = call.pop("call_id")
    assert call == {"name": "order", "arguments": {"number": 4711}, "needs": "result"}
    path = f"/v2/executions/{waits.body['id']}/answers"
    for wrong in ({"call_id": "another", "output": "x"}, {"call_id": id, "approved": True}, {"call_id": id}):
        answer = await client.call("POST", path, {"results": [wrong]})
        assert (answer.status, answer.code) == (422, "VALIDATION_ERROR"), wrong
    done = await client.call("POST", path, {"results": [{"call_id": id, "output": {"state": "sent"}}]})
    assert (done.status, done.body["status"]) == (200, "completed"), done
    assert done.body["text"] == "I look. \n\nIt is on its way."
    again = await client.call("POST", path, {"results": [{"call_id": id, "output": "x"}]})
    assert (again.status, again.code) == (409, "RESOURCE_CONFLICT")


@pytest.mark.parametrize("approved", [True, False], ids=["yes", "no"])
async def test_a_person_is_asked_first(client: RestClient, approved: bool):
    """A tool that needs a yes is not called before; a no is told to the model."""
    id = await agent(client, approve=["text_processing"])
    waits = await execute(client, id, "count")
    (call,) = waits.body["action"]["calls"]
    assert call["needs"] == "approval"
    path = f"/v2/executions/{waits.body['id']}"
    answer = {"results": [{"call_id": call["call_id"], "approved": approved}]}
    done = await client.call("POST", f"{path}/answers", answer)
    assert (done.status, done.body["text"]) == (200, "Done."), done
    steps = (await client.call("GET", f"{path}/steps")).body["data"]
    assert [each["status"] for each in steps] == ["completed", "completed" if approved else "failed", "completed"]


async def test_cancelling_ends_it_at_once(client: RestClient):
    """Its readers hear one end; it stays cancelled, and a second time changes nothing."""
    id = await agent(client)
    begun = await execute(client, id, "slowly", LATER)
    path = begun.headers["Location"]
    async with streamed(client, "GET", path) as events:
        async for type, _ in events:
            if type == "run.delta":
                break
        ended = await client.call("POST", f"{path}/cancel")
        assert (ended.status, ended.body["status"]) == (200, "cancelled")
        rest = [event async for event in events]
    assert rest[-1][0] == "run.cancelled"
    again = await client.call("POST", f"{path}/cancel")
    assert (again.status, again.body) == (200, ended.body)


async def test_executions_end_with_their_agent(client: RestClient, organisation: Organisation):
    """Who waits for one is told so; their rows are a job's."""
    id = await agent(client)
    waiting = asyncio.create_task(execute(client, id, "slowly"))

    async def runs() -> bool:
        listed = await client.call("GET", f"/v2/agents/{id}/executions?status=running")
        return listed.body["pagination"]["total"] == 1

    async def is_left_to_a_job() -> bool:
        jobs = await organisation.rows("SELECT kind, status FROM jobs WHERE kind LIKE 'agents.%' AND key = $1", id)
        return {tuple(row) for row in jobs} == {("agents.close", "completed"), ("agents.purge", "queued")}

    await eventually(runs)
    assert (await client.call("DELETE", f"/v2/agents/{id}")).status == 204
    ended = await waiting
    assert (ended.status, ended.body["status"]) == (200, "cancelled"), ended
    await eventually(is_left_to_a_job)


async def test_answer_in_a_schema(client: RestClient):
    """Of the request or of the agent; beside the text, in lists and steps of the same execution, streamed, and in a batch."""
    id = await agent(client)
    done = await execute(client, id, "The total?", output_schema=TOTAL)
    assert (done.status, done.body["output"]) == (200, {"total": 12.5}), done
    assert done.body["text"] == '{"total": 12.5}'
    assert (await client.call("GET", f"/v2/agents/{id}/executions")).body["data"] == [done.body]
    id = await agent(client, output_schema=TOTAL)
    async with streamed(client, "POST", f"/v2/agents/{id}/execute", {"query": "The total?"}) as events:
        *_, (type, end) = [event async for event in events]
    assert (type, end["output"]) == ("run.completed", {"total": 12.5})
    operation = {"method": "POST", "path": f"/v2/agents/{id}/execute", "body": {"query": "The total?"}}
    (begun,) = (await client.call("POST", "/v2/batch", {"operations": [operation]})).body["results"]
    assert (begun["status"], begun["body"]["output"]) == (202, None)

    async def ended() -> Any:
        return (await client.call("GET", begun["headers"]["Location"])).body["output"]

    assert await eventually(ended) == {"total": 12.5}


async def test_answer_that_is_not_of_the_schema_fails(client: RestClient):
    """By its own code. In a session nothing is left of it, and the agent may be asked again."""
    id = await agent(client, output_schema=TOTAL)
    failed = await execute(client, id, "How?")
    assert (failed.status, failed.body["status"], failed.body["output"]) == (200, "failed", None), failed
    assert failed.body["error"]["code"] == "OUTPUT_INVALID"
    session = f"/v2/agents/{id}/sessions/{(await client.call('POST', f'/v2/agents/{id}/sessions', {})).body['id']}"
    failed = await client.call("POST", f"{session}/messages", {"text": "How?"})
    assert failed.body["error"]["code"] == "OUTPUT_INVALID"
    done = await client.call("POST", f"{session}/messages", {"text": "The total?"})
    assert (done.status, done.body["output"]) == (200, {"total": 12.5}), done
    texts = [each["text"] for each in (await client.call("GET", f"{session}/messages")).body["data"]]
    assert texts == ["How?", "The total?", '{"total": 12.5}']


async def test_schema_that_cannot_be_taken_is_refused(client: RestClient):
    """Before anything runs, each at its place. The first version's form has no such field; of its agents, the config counts."""
    id = await agent(client)
    for schema, field in (({"type": "array"}, "output_schema.type"), ({"$ref": "https://x/y"}, "output_schema.$ref")):
        refused = await execute(client, id, "The total?", output_schema=schema)
        assert (refused.status, refused.body["error"]["details"][0]["field"]) == (422, field), refused
    input = {"query": "The total?", "output_schema": TOTAL}
    refused = await client.call("POST", "/v1/agents/execute", {"agent_id": id, "input": input})
    assert (refused.status, refused.body["error"]["details"][0]["field"]) == (422, "output_schema"), refused
    wrong = await agent(client, output_schema={"maximun": 3})
    refused = await execute(client, wrong, "The total?")
    assert (refused.status, refused.body["error"]["details"][0]["field"]) == (422, "config.output_schema.maximun")
    id = await agent(client, output_schema=TOTAL)
    done = await client.call("POST", "/v1/agents/execute", {"agent_id": id, "input": "The total?"})
    assert (done.status, done.body["output"]) == (200, {"total": 12.5}), done


async def test_server_knows_the_agent_by_what_was_given_once(client: RestClient, hub: HubProcess):
    """Its token is sent to it, and stands in nothing that the hub answers or logs; a change of the agent keeps it."""
    heard: list[str | None] = []
    answers = {"tools/list": listed("find"), "tools/call": {"content": [{"type": "text", "text": "sesame-of-rest"}]}}
    speak = speaking(answers)

    async def hear(request: web.Request) -> web.StreamResponse:
        heard.append(request.headers.get("Authorization"))
        return await speak(request)

    async with serving(hear) as port:
        server = {"name": "lib", "url": f"http://127.0.0.1:{port}/mcp"}
        id = await agent(client, mcp=[{**server, "token": "sesame-of-rest"}])
        changed = await client.call("PATCH", f"/v2/agents/{id}", {"config": {"mcp": [server], "most_steps": 4}})
        assert changed.body["config"]["mcp"] == [{**server, "token": True}]
        done = await execute(client, id, "The book?")
    assert (done.status, done.body["text"]) == (200, "It is there."), done
    assert set(heard) == {"Bearer sesame-of-rest"}
    steps = await client.call("GET", f"/v2/executions/{done.body['id']}/steps")
    events = await client.call("GET", f"/v2/agents/{id}/events")
    assert [each["name"] for each in steps.body["data"]] == ["fake", "lib__find", "fake"]
    assert "sesame" not in f"{changed} {done} {steps} {events} {hub.output()}"


async def test_tools_that_are_not_there_are_noted(client: RestClient):
    """The run goes on without them; who looks at it sees why, and so does who follows it."""
    id = await agent(client, mcp=[{"name": "lib", "url": "http://127.0.0.1:9/"}])
    done = await execute(client, id, "How?")
    assert (done.status, done.body["text"]) == (200, "Install it with pip.")
    (note,) = done.body["notes"]
    assert note.startswith("The tools of lib are missing: ")
    path = f"/v2/executions/{done.body['id']}"
    assert (await client.call("GET", path)).body == done.body
    assert (await client.call("GET", "/v2/executions")).body["data"] == [done.body]
    async with streamed(client, "POST", f"/v2/agents/{id}/execute", {"query": "How?"}) as events:
        *_, (type, end) = [each async for each in events]
    assert (type, end["notes"]) == ("run.completed", [note])


async def test_what_cannot_be_executed_is_refused(client: RestClient):
    """Each with its code: no such agent, a query that says nothing or is too long, an agent whose config is wrong."""
    id = await agent(client)
    missing = await execute(client, "01978f3e-5a70-7c3d-9b42-6f0d2c1e8a55", "How?")
    assert (missing.status, missing.code) == (404, "RESOURCE_NOT_FOUND")
    for query in ("", "   ", "x" * 65_537):
        refused = await execute(client, id, query)
        assert (refused.status, refused.code) == (422, "VALIDATION_ERROR")
    nobody = await client.call("POST", f"/v2/agents/{id}/execute", {"query": "How?", "model": "nobody"})
    assert (nobody.status, nobody.body["error"]["details"][0]["field"]) == (422, "model")
    wrong = await client.call("POST", "/v2/agents", {"name": "Ada", "config": {"most_steps": 0}})
    refused = await execute(client, wrong.body["id"], "How?") if wrong.status == 201 else wrong
    assert (refused.status, refused.code) == (422, "VALIDATION_ERROR")
