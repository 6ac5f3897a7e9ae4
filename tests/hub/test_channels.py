"""Channels over REST on a whole hub: what is published is heard by socket and by server-sent events, and kept."""

from collections.abc import AsyncIterator, Iterator
from urllib.parse import quote
from uuid import uuid4

import aiohttp
import pytest
from yarl import URL

from core.store.engines import EngineUrls
from tests.harness.engines import run
from tests.harness.event_source import open_events, poll
from tests.harness.hub_process import HubProcess, HubProcesses
from tests.harness.organisations import Organisation, Organisations
from tests.harness.rest_client import Answer, RestClient
from tests.harness.stream_client import open_stream

HELLO = {"data": {"text": "Hello"}}


@pytest.fixture(scope="module")
def hub(urls: EngineUrls) -> Iterator[HubProcess]:
    processes = HubProcesses()
    yield run(processes.start(urls=urls, environment={"HUB_ORIGINS": "https://page.example"}))
    processes.end()


@pytest.fixture
def organisations(urls: EngineUrls) -> Organisations:
    return Organisations(urls.database_url)


@pytest.fixture
async def organisation(organisations: Organisations) -> Organisation:
    return await organisations.create()


@pytest.fixture
async def key(organisation: Organisation) -> str:
    return await organisation.key()


@pytest.fixture
async def rest(hub: HubProcess, key: str) -> AsyncIterator[RestClient]:
    async with RestClient(hub.base_url, key) as client:
        yield client


def refused(answer: Answer, status: int, code: str) -> None:
    assert (answer.status, answer.body["error"]["code"]) == (status, code), answer


async def test_publish_is_heard_everywhere(hub: HubProcess, key: str, rest: RestClient):
    """By sockets, by server-sent events and by polls, as one event."""
    first = await poll(hub.base_url, key, ["chat:lobby"])
    async with (
        open_stream(hub.stream_url, key) as socket,
        open_events(hub.base_url, key, ["chat:lobby"]) as client,
    ):
        await socket.subscribe("chat:lobby")
        await client.expect("subscribed")
        answer = await rest.call("POST", "/v2/channels/chat:lobby/publish", HELLO)
        assert answer.status == 201, answer
        (frame,) = await client.events(1)
        assert frame == (await socket.events(1))[0]
        polled = await poll(hub.base_url, key, ["chat:lobby"], first["cursor"])
        assert polled["frames"] == [frame]
    assert answer.body == {"offset": frame["offset"], "epoch": answer.body["epoch"], "event_id": frame["event"]["id"]}
    assert frame["event"]["data"] == HELLO["data"]


async def test_repeat_under_a_key_is_published_once(rest: RestClient):
    """As everywhere."""
    one = await rest.call("POST", "/v2/channels/chat:lobby/publish", HELLO, Idempotency_Key="k")
    two = await rest.call("POST", "/v2/channels/chat:lobby/publish", HELLO, Idempotency_Key="k")
    assert two.headers["Idempotent-Replayed"] == "true"
    assert one.body == two.body
    history = await rest.call("GET", "/v2/channels/chat:lobby/history")
    assert len(history.body["events"]) == 1


@pytest.mark.parametrize("is_encoded", [False, True], ids=["plain", "encoded"])
async def test_name_with_a_slash(rest: RestClient, hub: HubProcess, key: str, *, is_encoded: bool):
    """Telemetry is stored, and told."""
    twin = (await rest.call("POST", "/v2/twins", {"name": "A"})).body["id"]
    name = f"twins:{twin}/telemetry"
    path = f"/v2/channels/{quote(name, safe='') if is_encoded else name}"
    async with open_events(hub.base_url, key, [name]) as client:
        await client.expect("subscribed")
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session:
            url = URL(f"{hub.base_url}{path}/publish", encoded=True)
            async with session.post(url, json={"data": {"heat": 21.5}}) as answer:
                assert (answer.status, await answer.json()) == (201, {"stored": 1})
            (frame,) = await client.events(1)
            assert frame["event"]["data"]["metrics"]["heat"]["value"] == 21.5
            async with session.get(URL(f"{hub.base_url}{path}/history", encoded=True)) as answer:
                assert (await answer.json())["events"] == [{"offset": frame["offset"], "event": frame["event"]}]


async def test_history_by_pages(rest: RestClient):
    """The latest, those before them, and those after a place."""
    path = "/v2/channels/chat:lobby"
    for number in range(5):
        await rest.call("POST", f"{path}/publish", {"data": number})

    async def numbers(query: str) -> list[int]:
        answer = await rest.call("GET", f"{path}/history?{query}")
        assert answer.status == 200, answer
        return [each["event"]["data"] for each in answer.body["events"]]

    assert await numbers("limit=2") == [3, 4]
    assert await numbers("limit=2&before=4") == [1, 2]
    assert await numbers("limit=2&after=1") == [1, 2]
    epoch = (await rest.call("GET", f"{path}/history")).body["epoch"]
    assert await numbers(f"after=3&epoch={epoch}") == [3, 4]
    lost = await rest.call("GET", f"{path}/history?after=3&epoch=other")
    assert lost.body["recovered"] is False


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=0", 422),
        ("limit=257", 422),
        ("after=x", 422),
        ("after=9223372036854775808", 422),
        ("before=1&after=1", 422),
        ("a=1", 400),
    ],
)
async def test_history_refuses(rest: RestClient, query: str, status: int):
    assert (await rest.call("GET", f"/v2/channels/chat:lobby/history?{query}")).status == status


async def test_channel_of_the_log(rest: RestClient):
    """Its history is the log's, which has a path of its own; only the hub writes it."""
    answer = await rest.call("GET", "/v2/channels/agents/history")
    refused(answer, 422, "VALIDATION_ERROR")
    assert "/v2/events" in answer.body["error"]["details"][0]["message"]
    refused(await rest.call("POST", "/v2/channels/agents/publish", HELLO), 403, "FORBIDDEN")


@pytest.mark.parametrize("name", ["nope", "chat:", "chat:%20", "agents:x", "%00", "chat:" + "x" * 300])
async def test_no_such_channel(rest: RestClient, name: str):
    for method, verb in (("POST", "publish"), ("GET", "history"), ("GET", "presence")):
        answer = await rest.call(method, f"/v2/channels/{name}/{verb}", HELLO if method == "POST" else None)
        assert answer.status in (404, 422), answer


async def test_scopes(hub: HubProcess, organisation: Organisation):
    """Those of the channel, as on a socket."""
    async with RestClient(hub.base_url, await organisation.key(["read:agents"])) as rest:
        for method, verb in (("POST", "publish"), ("GET", "history"), ("GET", "presence")):
            answer = await rest.call(method, f"/v2/channels/chat:a/{verb}", HELLO if method == "POST" else None)
            refused(answer, 403, "INSUFFICIENT_SCOPE")
        refused(await rest.call("POST", f"/v2/channels/runs:{uuid4()}/publish", HELLO), 403, "FORBIDDEN")
        refused(await rest.call("GET", "/v2/channels/users:somebody/history"), 403, "FORBIDDEN")


async def test_nothing_of_another_organisation(hub: HubProcess, rest: RestClient, organisations: Organisations):
    """A room of the same name is another room."""
    await rest.call("POST", "/v2/channels/chat:lobby/publish", HELLO)
    twin = (await rest.call("POST", "/v2/twins", {"name": "A"})).body["id"]
    async with RestClient(hub.base_url, await (await organisations.create()).key()) as foreign:
        assert (await foreign.call("GET", "/v2/channels/chat:lobby/history")).body["events"] == []
        name = quote(f"twins:{twin}/telemetry", safe="")
        refused(await foreign.call("GET", f"/v2/channels/{name}/history"), 404, "CHANNEL_NOT_FOUND")
        answer = await foreign.call("POST", f"/v2/channels/{name}/publish", {"data": {"heat": 1}})
        assert answer.status == 404, answer


async def test_too_large_and_too_deep(rest: RestClient):
    answer = await rest.call("POST", "/v2/channels/chat:lobby/publish", {"data": "x" * 17_000})
    refused(answer, 413, "PAYLOAD_TOO_LARGE")
    deep: object = 1
    for _ in range(100):
        deep = [deep]
    refused(await rest.call("POST", "/v2/channels/chat:lobby/publish", {"data": deep}), 422, "VALIDATION_ERROR")
    refused(await rest.call("POST", "/v2/channels/chat:lobby/publish", {}), 422, "VALIDATION_ERROR")


async def test_pace_is_that_of_a_socket(hub: HubProcess, organisations: Organisations):
    """Twenty a second, forty at once; of each caller by itself."""
    small = await organisations.create(tier="pro")
    async with RestClient(hub.base_url, await small.key()) as rest:
        answers = [await rest.call("POST", "/v2/channels/chat:a/publish", HELLO) for _ in range(150)]
    codes = {answer.status for answer in answers}
    assert codes == {201, 429}
    async with RestClient(hub.base_url, await small.key()) as other:
        assert (await other.call("POST", "/v2/channels/chat:a/publish", HELLO)).status == 201


async def test_by_call(hub: HubProcess, key: str):
    """The same operations over a socket."""
    async with open_stream(hub.stream_url, key) as socket:
        asked = {"type": "call", "operation": "channels.publish", "input": {"channel": "chat:a", **HELLO}}
        assert (await socket.ask(asked))["result"]["offset"] == "1"
        asked = {"type": "call", "operation": "channels.history", "input": {"channel": "chat:a"}}
        assert len((await socket.ask(asked))["result"]["events"]) == 1


async def test_page_of_an_allowed_origin_may_read_events(hub: HubProcess, key: str):
    """As it may read answers of REST; another page may not even open a stream."""
    headers = {"Origin": "https://page.example"}
    async with open_events(hub.base_url, key, ["agents"], headers=headers) as client:
        assert client.response.headers["Access-Control-Allow-Origin"] == "https://page.example"
        assert "Origin" in client.response.headers["Vary"]


async def test_streams_of_events_are_listed_and_closed(hub: HubProcess, key: str, rest: RestClient):
    """Beside the sockets; who was closed by an administrator is told not to come back."""
    async with open_events(hub.base_url, key, ["agents"]) as client:
        id = (await client.expect("welcome"))["connection"]
        await client.expect("subscribed")
        listed = await rest.call("GET", "/v2/connections")
        assert id in [each["id"] for each in listed.body["data"]]
        assert (await rest.call("DELETE", f"/v2/connections/{id}")).status == 204
        told = await client.ended()
        assert told is not None
        assert (told["code"], told["reconnect"]) == (4505, False)
