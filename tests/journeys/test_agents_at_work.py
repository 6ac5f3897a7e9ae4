"""Agents with a model of a provider: a conversation that three watch, tools that wait for people, webhooks."""

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web

from core.store.engines import EngineUrls
from tests.faults.agent_provider import words_of
from tests.faults.executing import Cast, cast
from tests.harness.hub_process import HubProcesses
from tests.harness.organisations import Organisation
from tests.harness.outside import serving
from tests.harness.stream_client import open_stream
from tests.harness.transcripts import transcripts_of
from tests.harness.waiting import eventually
from tests.harness.watcher import Watcher

# Each starts four processes.
pytestmark = pytest.mark.slow


@pytest.fixture
def urls(engines: EngineUrls, database_url: str, redis_url: str) -> EngineUrls:
    """A database of the test's own: nobody else does its jobs."""
    return EngineUrls(database_url, engines.superuser_url, redis_url)


async def test_webhook_hears_of_the_end(organisation: Organisation, urls: EngineUrls, hubs: HubProcesses):
    """`agent.execution.completed`, once, with whose execution it is."""
    heard: list[Any] = []

    async def receive(request: web.Request) -> web.Response:
        heard.append(await request.json())
        return web.Response()

    async with serving(receive) as port, cast(hubs, urls, organisation, workers=1) as at:
        url = f"http://127.0.0.1:{port}/"
        made = await at.rest.call("POST", "/v2/webhooks", {"url": url, "events": ["agent.execution.*"]})
        assert made.status == 201, made
        execution = await at.begin(at.script(tools=1, words=5))
        await at.ended(execution)

        def ended() -> list[Any]:
            return [each for each in heard if each["type"] == "agent.execution.completed"]

        (event,) = await eventually(ended)
        kinds = [each["type"] for each in heard]
        assert kinds[0] == "agent.execution.started"
        assert "agent.execution.step" in kinds
        assert execution in json.dumps(event)


async def test_session_that_three_watch(organisation: Organisation, urls: EngineUrls, hubs: HubProcesses):
    """One sends over a socket; one joins in mid-answer; one loses its connection and comes back by its offset: one answer."""
    async with cast(hubs, urls, organisation, workers=1) as at:
        made = await at.rest.call("POST", f"/v2/agents/{at.agent}/sessions", {})
        assert made.status == 201, made
        channel = f"sessions:{made.body['id']}"
        first, second = (node.stream_url for node in at.nodes)
        script = at.script(words=150, pause=0.01)
        async with (
            open_stream(first, at.key) as sender,
            Watcher([first], at.key, [channel]) as steady,
            Watcher([second, first], at.key, [channel]) as leaving,
        ):
            await steady.joined()
            await leaving.joined()
            await sender.expect("welcome")
            sent = await sender.ask({"type": "message", "session": made.body["id"], "text": script.text()})
            assert sent["type"] == "result", sent
            execution = await _execution_in(steady)
            await _reads(leaving, execution, more_than=5)
            leaving.cut()
            async with Watcher([second], at.key, [channel]) as late:
                await at.ended(execution)
                for watcher in (steady, leaving, late):
                    await _is_told_the_end(watcher, execution)
                    told = transcripts_of(watcher.told(channel))[execution]
                    assert (told.check(await at.shown(execution)), watcher.problems) == ([], [])
                assert _types(late)[0] == "run.snapshot"
            assert leaving.connections == 2
            assert transcripts_of(leaving.told(channel))[execution].ignored == 0
        await _shows_the_conversation(at, made.body["id"], script.text(), execution)


async def _shows_the_conversation(at: Cast, session: str, question: str, execution: str) -> None:
    path = f"/v2/agents/{at.agent}/sessions/{session}/messages"
    asked, answered = (await at.rest.call("GET", path)).body["data"]
    assert (asked["role"], asked["text"]) == ("user", question)
    assert (answered["role"], answered["execution_id"]) == ("assistant", execution)
    assert words_of(answered["text"]) == [150]


def _types(watcher: Watcher) -> list[str]:
    return [str((each.event or {})["type"]) for each in watcher.record if each.kind == "event"]


async def _execution_in(watcher: Watcher) -> str:
    def begun() -> str | None:
        found = transcripts_of(watcher.told(watcher.channels[0]))
        return next(iter(found), None)

    return await eventually(begun, what="the run has begun")


async def _reads(watcher: Watcher, execution: str, *, more_than: int) -> None:
    def it_does() -> bool:
        found = transcripts_of(watcher.told(watcher.channels[0])).get(execution)
        return found is not None and found.place[1] > more_than

    await eventually(it_does, what="deltas come")


async def _is_told_the_end(watcher: Watcher, execution: str) -> None:
    def it_is() -> bool:
        found = transcripts_of(watcher.told(watcher.channels[0])).get(execution)
        return found is not None and found.status is not None

    await eventually(it_is, what="the end is told")


async def test_cancelled_over_the_socket(organisation: Organisation, urls: EngineUrls, hubs: HubProcesses):
    """Whoever watches is told that it ended so, and nothing comes behind it."""
    async with cast(hubs, urls, organisation, workers=1) as at:
        execution = await at.begin(at.script(words=5000, pause=0.01))
        channel = f"runs:{execution}"
        url = at.nodes[0].stream_url
        async with open_stream(url, at.key) as socket, Watcher([url], at.key, [channel]) as watcher:
            await _reads(watcher, execution, more_than=3)
            await socket.expect("welcome")
            reply = await socket.ask({"type": "cancel", "execution": execution})
            assert reply["type"] == "result", reply
            await _is_told_the_end(watcher, execution)
            shown = await at.shown(execution)
            assert shown["status"] == "cancelled"
            assert transcripts_of(watcher.told(channel))[execution].check(shown) == []


@pytest.mark.parametrize("approved", [True, False], ids=["approved", "refused"])
async def test_tool_that_a_person_approves(
    *, approved: bool, organisation: Organisation, urls: EngineUrls, hubs: HubProcesses
):
    """The run waits, durably, over a restart of the worker; the tool is called once where it was approved, else not at all."""
    async with cast(hubs, urls, organisation, workers=1, approve=["http_request"]) as at:
        script = at.script(tools=1, words=10)
        answer = await at.rest.call("POST", f"/v2/agents/{at.agent}/execute", {"query": script.text()})
        assert answer.status == 202, answer
        execution = answer.body["id"]
        assert answer.body["status"] == "requires_action", answer
        (call,) = answer.body["action"]["calls"]
        assert call["name"] == "http_request"
        at.workers[0].kill()
        at.workers[0].launch()
        async with Watcher([at.nodes[0].stream_url], at.key, [f"runs:{execution}"]) as watcher:
            await watcher.joined()
            results = {"results": [{"call_id": call["call_id"], "approved": approved}]}
            told = await at.rest.call("POST", f"/v2/executions/{execution}/answers", results)
            assert told.status in (200, 202), told
            shown = await at.ended(execution)
            await _is_told_the_end(watcher, execution)
            assert transcripts_of(watcher.told(watcher.channels[0]))[execution].check(shown) == []
        assert shown["status"] == "completed", shown
        used = [each for each in await at.calls() if each.run == script.run and each.key]
        assert len(used) == int(approved)
        again = await at.rest.call("POST", f"/v2/executions/{execution}/answers", results)
        assert again.status == 409, again


async def test_tool_that_the_caller_runs(organisation: Organisation, urls: EngineUrls, hubs: HubProcesses):
    """What it brings is what the model goes on from."""
    tool = {"name": "look_up", "parameters": {"type": "object", "properties": {"order": {"type": "integer"}}}}
    async with cast(hubs, urls, organisation, workers=1, tools=[tool]) as at:
        script = at.script(tools=1, words=10, tool="look_up", arguments={"order": 4711})
        execution = await at.begin(script)

        async def waits() -> Any:
            shown = await at.shown(execution)
            return shown["action"] if shown["status"] == "requires_action" else None

        (call,) = (await eventually(waits))["calls"]
        assert call["arguments"] in ({"order": 4711}, '{"order": 4711}')
        results = {"results": [{"call_id": call["call_id"], "output": "It is on its way."}]}
        path = f"/v2/executions/{execution}/answers"
        told = await asyncio.gather(*(at.rest.call("POST", path, results) for _ in range(2)))
        assert sorted(each.status for each in told)[0] in (200, 202), told
        shown = await at.ended(execution)
        assert shown["status"] == "completed", shown
        steps = (await at.rest.call("GET", f"/v2/executions/{execution}/steps")).body["data"]
        assert [each["output"] for each in steps if each["kind"] == "tool"] == ["It is on its way."]
