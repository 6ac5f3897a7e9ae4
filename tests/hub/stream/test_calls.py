"""`call`: the operations of REST over the socket, several at once."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from hub.stream.calls import Calls, Operations
from hub.stream.commands import Call, Refusal
from tests.harness.organisations import Organisation, Organisations
from tests.harness.stream_client import Frame, StreamClient
from tests.harness.waiting import eventually
from tests.hub.stream.node import Node

ADA = {"name": "Ada", "type": "assistant"}


async def call(client: StreamClient, operation: str, input: Any = None, **members: Any) -> Frame:
    """Call and return the reply."""
    given = {} if input is None else {"input": input}
    return await client.ask({"type": "call", "operation": operation, **given, **members})


def code_of(frame: Frame) -> str:
    assert frame["type"] == "error", frame
    return frame["error"]["code"]


class TestResults:
    """What REST answers, under `result`."""

    async def test_life_of_a_resource(self, node: Node, key: str):
        """Create, get, list, change, delete."""
        async with node.open(key) as client:
            made = await call(client, "agents.create", ADA)
            assert made["type"] == "result"
            agent = made["result"]
            assert (agent["name"], agent["version"]) == ("Ada", 1)
            assert made["event_id"]
            assert (await call(client, "agents.get", {"id": agent["id"]}))["result"] == agent
            listed = (await call(client, "agents.list", {"per_page": 5}))["result"]
            assert listed == {"data": [agent], "pagination": {"page": 1, "per_page": 5, "total": 1}}
            change = {"id": agent["id"], "if_match": '"1"', "body": {"name": "Grace"}}
            assert (await call(client, "agents.update", change))["result"]["version"] == 2
            assert code_of(await call(client, "agents.update", change)) == "PRECONDITION_FAILED"
            gone = (await call(client, "agents.delete", {"id": agent["id"]}))["result"]
            assert gone == {"id": agent["id"], "version": 2}
            assert code_of(await call(client, "agents.get", {"id": agent["id"]})) == "RESOURCE_NOT_FOUND"

    async def test_event_of_a_call_comes_too(self, node: Node, key: str):
        """`event_id` is that of the event in the channel."""
        async with node.joined(key, "agents") as client:
            made = await call(client, "agents.create", ADA)
            seen = [frame for frame in client.frames if frame["type"] == "event"]
            event = seen[0] if seen else await client.expect("event")
            assert event["event"]["id"] == made["event_id"]
            assert event["event"]["data"] == made["result"]

    async def test_repeat_under_a_key_is_replayed(self, node: Node, key: str):
        """The same result, once; another input under the key is refused."""
        async with node.open(key) as client:
            first = await call(client, "agents.create", ADA, idempotency_key="k1")
            again = await call(client, "agents.create", ADA, idempotency_key="k1")
            assert again["result"] == first["result"]
            assert again["event_id"] == first["event_id"]
            assert ("replayed" in first, again["replayed"]) == (False, True)
            other = await call(client, "agents.create", {**ADA, "name": "B"}, idempotency_key="k1")
            assert code_of(other) == "IDEMPOTENCY_KEY_REUSED"


class TestRefusals:
    """An error frame with the call's id; the connection lives."""

    async def test_what_is_too_long_for_a_frame(self, node: Node, key: str):
        """An export is for REST."""
        async with node.open(key) as client:
            made = (await call(client, "knowledge.create", {"name": "Docs"}))["result"]
            assert code_of(await call(client, "knowledge.export", {"id": made["id"]})) == "NOT_ACCEPTABLE"

    async def test_what_is_no_call(self, node: Node, key: str):
        """Unknown operations, inputs of another form, missing members."""
        async with node.open(key) as client:
            assert code_of(await call(client, "nope.list")) == "RESOURCE_NOT_FOUND"
            assert code_of(await call(client, "agents.create", {})) == "VALIDATION_ERROR"
            assert code_of(await call(client, "agents.create", [])) == "VALIDATION_ERROR"
            assert code_of(await call(client, "")) == "VALIDATION_ERROR"
            assert code_of(await client.ask({"type": "call"})) == "VALIDATION_ERROR"
            assert code_of(await call(client, "agents.list", {}, idempotency_key=5)) == "VALIDATION_ERROR"
            assert code_of(await call(client, "agents.create", ADA, idempotency_key="ä")) == "VALIDATION_ERROR"
            assert (await client.ask({"type": "ping"}))["type"] == "pong"

    async def test_scope_is_that_of_the_operation(self, node: Node, organisation: Organisation):
        async with node.open(await organisation.key(["read:agents"])) as client:
            assert code_of(await call(client, "agents.create", ADA)) == "INSUFFICIENT_SCOPE"
            assert (await call(client, "agents.list"))["type"] == "result"

    async def test_other_organisations_resources_do_not_exist(self, node: Node, key: str, organisations: Organisations):
        stranger = await (await organisations.create()).key()
        async with node.open(key) as client, node.open(stranger) as other:
            agent = (await call(client, "agents.create", ADA))["result"]
            assert code_of(await call(other, "agents.get", {"id": agent["id"]})) == "RESOURCE_NOT_FOUND"
            assert (await call(other, "agents.list"))["result"]["pagination"]["total"] == 0

    async def test_nothing_is_called_before_authentication(self, node: Node):
        async with node.open() as client:
            assert code_of(await call(client, "agents.list")) == "AUTHENTICATION_REQUIRED"


class Waiting:
    """A runner whose operations never end."""

    def __init__(self) -> None:
        self.begun: list[object] = []
        self.cancelled = 0

    async def run(self, operation: object, *_: Any, **__: Any) -> Any:

        self.begun.append(operation)
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled += 1


class TestAtOnce:
    """Sixteen calls may be under way; results come as they are ready."""

    async def test_many_at_once_all_get_their_own_result(self, node: Node, key: str):
        """By their ids."""
        async with node.open(key) as client:
            for number in range(16):
                await client.send(
                    {"type": "call", "id": number, "operation": "agents.create", "input": {**ADA, "name": str(number)}}
                )
            replies = [await client.expect("result") for _ in range(16)]
            assert {reply["id"]: reply["result"]["name"] for reply in replies} == {n: str(n) for n in range(16)}

    async def test_one_more_is_refused(self, organisation: Organisation):
        """TOO_MANY_CALLS at once; when one has ended there is room again."""
        waiting = Waiting()
        said: list[int] = []
        refused: list[Refusal] = []
        calls = Calls(
            Operations(waiting, {"x": object()}),  # pyright: ignore[reportArgumentType] - a runner of the test's own
            request_id="r",
            most=16,
            say=lambda each, _: said.append(int(each.id or 0)),
            refuse=refused.append,
        )
        for number in range(1, 18):
            calls.begin(organisation.caller(), Call(number, "x", {}, None))
        assert [(each.id, each.error.code) for each in refused] == [(17, "TOO_MANY_CALLS")]
        await eventually(lambda: len(waiting.begun) == 16)
        calls.close()
        await eventually(lambda: waiting.cancelled == 16)
        assert not said

    async def test_ends_with_the_connection(self, node: Node, key: str):
        """A client that leaves in mid-call disturbs nobody."""
        async with node.open(key) as client:
            for _ in range(16):
                await client.send({"type": "call", "operation": "agents.create", "input": ADA})
            client.socket.transport.abort()
        await eventually(lambda: node.door.connections == 0)
        async with node.open(key) as client:
            assert (await call(client, "agents.get", {"id": str(uuid4())}))["type"] == "error"


@pytest.mark.parametrize("operation", ["x" * 65, 5, None, {}])
async def test_operation_is_a_short_string(node: Node, key: str, operation: Any):
    """And what is repeated of it is shorter still."""
    async with node.open(key) as client:
        assert code_of(await call(client, operation)) == "VALIDATION_ERROR"
