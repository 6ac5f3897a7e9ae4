"""The first job of a browser, a script and a service: subscribe with the documented frame, write elsewhere, see it happen."""

import json
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from core.store.engines import EngineUrls
from tests.harness.hub_process import HubProcess, HubProcesses
from tests.harness.organisations import Organisation, Organisations
from tests.harness.rest_client import KINDS, RestClient
from tests.harness.stream_client import StreamClient, open_stream

# The documented frame, and the documented bodies, as they stand.
SUBSCRIBE = '{"type": "subscribe", "channels": ["agents", "knowledge", "twins"]}'
BODIES: dict[str, dict[str, Any]] = {
    "agents": {
        "name": "Customer Support Agent",
        "type": "assistant",
        "capabilities": ["text_processing", "knowledge_query"],
    },
    "knowledge": {
        "type": "contact",
        "data": {"name": "Ada Lovelace", "email": "ada@example.com"},
        "source": "salesforce",
    },
    "twins": {
        "name": "Business Operations Twin",
        "type": "erp_system",
        "data": {"orders": [{"id": 1, "amount": 12.5}]},
        "sync_schedule": "hourly",
    },
}
WORD = {"agents": "agent", "knowledge": "knowledge", "twins": "twin"}


@dataclass(frozen=True)
class TwoNodes:
    """One hub of two processes, and where its data is."""

    urls: EngineUrls
    first: HubProcess
    second: HubProcess


@pytest.fixture
async def nodes(engines: EngineUrls, database_url: str, redis_url: str, hubs: HubProcesses) -> TwoNodes:
    """Two hub processes on the same engines."""
    urls = EngineUrls(database_url, engines.superuser_url, redis_url)
    first, second = await hubs.start_many(2, urls=urls)
    return TwoNodes(urls, first, second)


async def live_through(client: RestClient, kind: str) -> list[tuple[str, str, dict[str, Any] | None]]:
    """POST, PUT and DELETE one resource; return the event id, the type and the body of each answer."""
    made = await client.call("POST", f"/v1/{kind}", BODIES[kind])
    assert made.status == 201, made
    path = f"/v1/{kind}/{made.body['id']}"
    assert made.headers["Location"].endswith(path.removeprefix("/v1"))
    changed = await client.call("PUT", path, {**BODIES[kind], "name": "Another name"})
    assert changed.status == 200, changed
    gone = await client.call("DELETE", path)
    assert gone.status == 204, gone
    word = WORD[kind]
    return [
        (made.event_id, f"{word}.created", made.body),
        (changed.event_id, f"{word}.updated", changed.body),
        (gone.event_id, f"{word}.deleted", None),
    ]


async def test_documented_frame_sees_writes_of_another_process_in_order_once_each(
    nodes: TwoNodes, organisation: Organisation
):
    """The subscribe frame stands alone after the handshake; nine writes through the other process give nine events."""
    key = await organisation.key()
    written: list[tuple[str, str, dict[str, Any] | None]] = []
    async with open_stream(nodes.first.stream_url.replace("/v2/", "/v1/"), key) as stream:
        await stream.send(SUBSCRIBE)
        subscribed = await stream.expect("subscribed")
        assert [item["channel"] for item in subscribed["channels"]] == list(KINDS)
        async with RestClient(nodes.second.base_url, key) as client:
            for kind in KINDS:
                written += await live_through(client, kind)
        frames = await stream.events(len(written))
        await stream.quiet()
    check_frames(frames, written, start=int(subscribed["channels"][0]["offset"]))


def check_frames(frames: list[dict[str, Any]], written: list[tuple[str, str, Any]], *, start: int) -> None:
    """Check ids, types, whole resources and dense, rising offsets."""
    assert [(frame["event"]["id"], frame["event"]["type"]) for frame in frames] == [(e, t) for e, t, _ in written]
    assert [int(frame["offset"]) for frame in frames] == list(range(start + 1, start + 1 + len(written)))
    for frame, (_, kind, body) in zip(frames, written, strict=True):
        assert frame["channel"] == frame["event"]["subject"].partition("/")[0]
        if body is not None:
            assert frame["event"]["data"] == body, kind
        else:
            assert frame["event"]["data"]["id"] in frame["event"]["subject"]


async def test_aiohttp_client_sees_the_same_after_authenticating_by_first_frame(
    nodes: TwoNodes, organisation: Organisation
):
    """A browser cannot set headers: the credential is the first frame. Another WebSocket implementation agrees."""
    key = await organisation.key()
    async with aiohttp.ClientSession() as session, session.ws_connect(nodes.second.stream_url) as socket:
        await socket.send_json({"id": 1, "type": "authenticate", "token": key})
        welcome = await socket.receive_json(timeout=10)
        assert welcome["type"] == "welcome", welcome
        await socket.send_str(SUBSCRIBE)
        subscribed = await socket.receive_json(timeout=10)
        assert subscribed["type"] == "subscribed", subscribed
        async with RestClient(nodes.first.base_url, key) as client:
            written = [line for kind in KINDS for line in await live_through(client, kind)]
        frames = [await socket.receive_json(timeout=10) for _ in written]
    check_frames(frames, written, start=int(subscribed["channels"][0]["offset"]))


async def test_returning_reader_gets_what_it_missed_through_the_other_node(nodes: TwoNodes, organisation: Organisation):
    """A closed laptop: the second socket, at another node, goes on after the last offset of the first."""
    key = await organisation.key()
    async with open_stream(nodes.first.stream_url, key) as stream:
        joined = (await stream.subscribe("agents"))["channels"][0]
    async with RestClient(nodes.first.base_url, key) as client:
        written = await live_through(client, "agents")
    async with open_stream(nodes.second.stream_url, key) as stream:
        bookmark = {"channel": "agents", "offset": joined["offset"], "epoch": joined["epoch"]}
        again = (await stream.subscribe(bookmark))["channels"][0]
        assert (again["offset"], again["recovered"]) == (joined["offset"], True)
        check_frames(await stream.events(3), written, start=int(joined["offset"]))
        await stream.quiet()


async def test_two_organisations_never_see_each_other(
    nodes: TwoNodes, organisation: Organisation, organisations: Organisations
):
    """No operation and no channel shows anything of another organisation, not even that it is there."""
    other = await organisations.create()
    ours, theirs = await organisation.key(), await other.key()
    async with (
        RestClient(nodes.first.base_url, ours) as mine,
        RestClient(nodes.second.base_url, theirs) as foreign,
        open_stream(nodes.second.stream_url, theirs) as stream,
    ):
        await stream.subscribe(*KINDS)
        made = {kind: (await mine.call("POST", f"/v2/{kind}", BODIES[kind])).body for kind in KINDS}
        await stream.subscribe(*(f"{kind}:{made[kind]['id']}" for kind in KINDS))
        for kind in KINDS:
            await check_foreign(foreign, kind, made[kind])
        for kind in KINDS:
            kept = await mine.call("GET", f"/v2/{kind}/{made[kind]['id']}")
            assert kept.body == made[kind]
            assert (await mine.call("PUT", f"/v2/{kind}/{made[kind]['id']}", BODIES[kind])).status == 200
        await check_own_event(stream, foreign)


async def check_foreign(foreign: RestClient, kind: str, theirs: dict[str, Any]) -> None:
    """Try every operation on a resource of somebody else: it is not there."""
    path = f"/v2/{kind}/{theirs['id']}"
    for method, body in (("GET", None), ("PUT", BODIES[kind]), ("PATCH", {"name": "mine now"}), ("DELETE", None)):
        answer = await foreign.call(method, path, body)
        assert (answer.status, answer.code) == (404, "RESOURCE_NOT_FOUND"), (method, kind)
        assert "Lovelace" not in answer.text
    for query in ("", "?q=ada", f"?type={theirs['type']}", f"?q={theirs['name']}"):
        listed = await foreign.call("GET", f"/v2/{kind}{query}")
        assert listed.body["data"] == []
        assert listed.body["pagination"]["total"] == 0


async def check_own_event(stream: StreamClient, foreign: RestClient) -> None:
    """What comes on the stream is the own write only; everything before it would have come first."""
    own = await foreign.call("POST", "/v2/agents", BODIES["agents"])
    event = await stream.expect("event")
    assert event["event"]["id"] == own.event_id
    seen = json.dumps([frame for frame in stream.frames if frame["type"] == "event"])
    assert "Lovelace" not in seen
    await stream.quiet()
