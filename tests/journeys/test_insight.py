"""Insight into a hub of two nodes: streams of both at either, frames of one as they pass, metrics."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from core.store.engines import EngineUrls
from tests.harness.hub_process import HubProcess, HubProcesses
from tests.harness.organisations import Organisation, Organisations
from tests.harness.rest_client import RestClient
from tests.harness.stream_client import open_stream
from tests.harness.waiting import eventually


@pytest.fixture
async def nodes(engines: EngineUrls, database_url: str, redis_url: str, hubs: HubProcesses) -> list[HubProcess]:
    """Two nodes on one database."""
    return await hubs.start_many(2, urls=EngineUrls(database_url, engines.superuser_url, redis_url))


async def listed(client: RestClient, node: HubProcess, count: int, query: str = "") -> list[dict[str, Any]]:
    """Wait until a node lists as many streams, all nodes having answered."""

    async def found() -> list[dict[str, Any]] | None:
        answer = await client.call("GET", f"/v2/connections{query}", base_url=node.base_url)
        assert answer.status == 200, answer
        body = answer.body
        return body["data"] if body["pagination"]["total"] == count and "incomplete" not in body else None

    return await eventually(found, what=f"{count} streams are listed") if count else (await found() or [])


async def walked(client: RestClient, node: HubProcess, target: str) -> list[str]:
    """Go from cursor to cursor by the links; returns the ids."""
    ids: list[str] = []
    while target:
        body = (await client.call("GET", target, base_url=node.base_url)).body
        ids += [each["id"] for each in body["data"]]
        target = body["links"].get("next", "")
    return ids


@asynccontextmanager
async def trace_of(node: HubProcess, key: str, id: str, query: str = "") -> AsyncGenerator[aiohttp.ClientResponse]:
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session,
        session.get(f"{node.base_url}/v2/connections/{id}/trace{query}") as answer,
    ):
        yield answer


async def line_of(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    return json.loads(await asyncio.wait_for(answer.content.readline(), 10))


async def metrics_of(node: HubProcess, **headers: str) -> dict[str, float]:
    """Return the samples of a node by name and labels."""
    async with aiohttp.ClientSession() as session, session.get(f"{node.base_url}/metrics", headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        return {
            sample.name + "".join(f"{{{value}}}" for value in sample.labels.values()): sample.value
            for family in text_string_to_metric_families(await answer.text())
            for sample in family.samples
        }


async def test_streams_of_all_nodes_are_listed_looked_at_and_closed_at_any(
    organisations: Organisations, organisation: Organisation, nodes: list[HubProcess]
):
    """Own organisation's alone; newest first; what one node has, the other shows and closes."""
    key, other = await organisation.key(), await (await organisations.create()).key()
    async with (
        RestClient(nodes[0].base_url, key) as client,
        RestClient(nodes[0].base_url, other) as stranger,
        open_stream(nodes[0].stream_url, key) as first,
        open_stream(nodes[1].stream_url, key) as second,
    ):
        ids = [(await stream.expect("welcome"))["connection"] for stream in (first, second)]
        await second.subscribe("agents", "twins")
        for node in nodes:
            found = await listed(client, node, 2)
            assert [each["id"] for each in found] == ids[::-1]
            assert [each["channels"] for each in found] == [2, 0]
            assert len({each["node"] for each in found}) == 2
            assert all(each["subject"].startswith("key:") and each["waiting_bytes"] == 0 for each in found)
        (only,) = await listed(client, nodes[0], 1, "?channel=twins")
        assert only["id"] == ids[1]
        assert [each["id"] for each in await listed(client, nodes[0], 2, "?page=2&per_page=1")] == [ids[0]]
        for node in nodes:
            assert await walked(client, node, "/v2/connections?limit=1") == ids[::-1]
            assert await walked(client, node, "/v2/connections?limit=1&sort=since") == ids
            (busy,) = await listed(
                client, node, 1, "?filter[channel][prefix]=tw&filter[channels][gt]=1&fields=channels"
            )
            assert busy == {"id": ids[1], "channels": 2}
        seen = (await client.call("GET", f"/v2/connections/{ids[1]}")).body
        assert seen["subscriptions"] == ["agents", "twins"]

        assert await listed(stranger, nodes[0], 0) == []
        for method in ("GET", "DELETE"):
            assert (await stranger.call(method, f"/v2/connections/{ids[1]}")).status == 404
        assert (await client.call("DELETE", f"/v2/connections/{ids[1]}")).status == 204
        assert await second.closed() == 4505
        assert [each["id"] for each in await listed(client, nodes[0], 1)] == [ids[0]]
        await first.quiet()


async def test_scopes_and_bounds_of_the_list(organisation: Organisation, nodes: list[HubProcess]):
    """Looking needs read:connections, closing write:connections; what lies too deep is refused."""
    reader = await organisation.key(["read:connections"])
    nobody = await organisation.key(["read:agents"])
    async with RestClient(nodes[0].base_url, reader) as client, RestClient(nodes[0].base_url, nobody) as other:
        assert (await other.call("GET", "/v2/connections")).code == "INSUFFICIENT_SCOPE"
        assert (await client.call("DELETE", "/v2/connections/1")).code == "INSUFFICIENT_SCOPE"
        assert (await client.call("GET", "/v2/connections/1")).status == 404
        assert (await client.call("GET", "/v2/connections?page=4000&per_page=100")).status == 422
        assert (await client.call("GET", "/v1/connections")).status == 404


async def test_node_that_stands_still_makes_the_list_incomplete(organisation: Organisation, nodes: list[HubProcess]):
    """A part that could not be asked is said to be missing, and what is known is there."""
    key = await organisation.key()
    async with RestClient(nodes[0].base_url, key) as client, open_stream(nodes[0].stream_url, key) as stream:
        id = (await stream.expect("welcome"))["connection"]
        await listed(client, nodes[0], 1)
        nodes[1].pause()
        try:
            body = (await client.call("GET", "/v2/connections")).body
            assert [each["id"] for each in body["data"]] == [id]
            assert body["incomplete"]
            unknown = await client.call("GET", "/v2/connections/01890000-0000-7000-8000-000000000000")
            assert unknown.status == 503
        finally:
            nodes[1].resume()


async def test_trace_shows_frames_of_a_stream_on_the_other_node_without_secrets(
    organisation: Organisation, nodes: list[HubProcess]
):
    """Frames in and out with their times, as they pass; it ends with the stream."""
    key = await organisation.key()
    async with RestClient(nodes[0].base_url, key) as client, open_stream(nodes[1].stream_url, key) as stream:
        id = (await stream.expect("welcome"))["connection"]
        await listed(client, nodes[0], 1)
        async with trace_of(nodes[0], key, id) as answer:
            assert (answer.status, answer.content_type) == (200, "application/x-ndjson")
            async with trace_of(nodes[0], key, id) as again:
                assert again.status == 409, "one at a time"
            await stream.subscribe("agents")
            await stream.authenticate(key)
            made = await client.call("POST", "/v2/agents", {"name": "Ada", "type": "assistant"})
            await stream.send("no frame")
            lines = [await line_of(answer) for _ in range(7)]
            kinds = [(each["direction"], each.get("frame", {}).get("type")) for each in lines]
            assert sorted(kinds, key=str) == sorted(
                [("in", "subscribe"), ("out", "subscribed"), ("in", "authenticate"), ("out", "welcome"),
                 ("out", "event"), ("in", None), ("out", "error")], key=str)  # fmt: skip
            assert (
                next(each["frame"] for each in lines if each.get("frame", {}).get("type") == "event")["event"]["id"]
                == made.event_id
            )
            assert key not in json.dumps(lines)
            assert {"id": 2, "type": "authenticate", "token": "***"} in [each.get("frame") for each in lines]
            await stream.socket.close()
            assert (await line_of(answer))["ended"] == "closed"
            assert await answer.content.read() == b""


async def test_trace_is_for_administrators_of_the_organisation(
    organisations: Organisations, organisation: Organisation, nodes: list[HubProcess]
):
    """Whoever lacks hub:admin, or is of another organisation, sees nothing; bounds are checked."""
    key = await organisation.key()
    plain = await organisation.key(["read:connections", "write:connections"])
    stranger = await (await organisations.create()).key()
    async with open_stream(nodes[0].stream_url, key) as stream:
        id = (await stream.expect("welcome"))["connection"]
        for credential, status in ((plain, 403), (stranger, 404), ("aim_live_no", 401)):
            async with trace_of(nodes[0], credential, id) as answer:
                assert answer.status == status
        async with trace_of(nodes[0], key, id, "?seconds=0") as answer:
            assert answer.status == 422
        async with trace_of(nodes[0], key, id, "?seconds=1") as answer:
            assert (await line_of(answer))["ended"] == "time"


async def test_trace_ends_when_its_key_is_revoked(organisation: Organisation, nodes: list[HubProcess]):
    """A credential that is taken away sees no more within two seconds or three."""
    key, watching = await organisation.key(), await organisation.key()
    async with open_stream(nodes[0].stream_url, key) as stream:
        id = (await stream.expect("welcome"))["connection"]
        async with trace_of(nodes[0], watching, id) as answer:
            assert answer.status == 200
            await organisation.revoke(watching)
            assert (await line_of(answer))["ended"] == "credential"


async def test_metrics_count_what_happened(organisation: Organisation, nodes: list[HubProcess]):
    """Deliveries, operations by outcome, the relay, the loop: readable by Prometheus' own parser."""
    key = await organisation.key()
    async with RestClient(nodes[0].base_url, key) as client, open_stream(nodes[0].stream_url, key) as stream:
        await stream.subscribe("agents")
        await client.call("POST", "/v2/agents", {"name": "Ada", "type": "assistant"})
        await client.call("POST", "/v2/agents", {})
        await stream.expect("event")
        seen = await metrics_of(nodes[0])
        assert seen["hub_connections"] == seen["hub_connections_opened_total"] == seen["hub_deliveries_total"] == 1
        assert seen["hub_operation_seconds_count{agents.create}{ok}"] == 1
        assert seen["hub_operation_seconds_count{agents.create}{VALIDATION_ERROR}"] == 1
        assert seen["hub_frames_received_total"] == 1
        assert seen["hub_frames_sent_total"] == 3, "welcome, subscribed, event"
        assert seen["hub_feeds"] == seen["hub_redis_connected"] == 1

        async def are_measured() -> bool:
            later = await metrics_of(nodes[0])
            return later["hub_nodes"] == 2 and later["hub_loop_lag_seconds_count"] > 0

        await eventually(are_measured, what="the node has seen the other, and its own loop")
        moved = [(await metrics_of(node))["hub_relay_moved_total"] for node in nodes]
        assert sum(moved) == 1


async def test_metrics_are_for_this_machine_or_an_administrator(organisation: Organisation, nodes: list[HubProcess]):
    """Behind a proxy on the same machine everybody would come from it: the proxy's headers, or another name, need a key."""
    key, plain = await organisation.key(), await organisation.key(["read:connections"])
    async with aiohttp.ClientSession() as session:
        for headers in ({"X-Forwarded-For": "192.0.2.1"}, {"Host": "hub.example"}):
            for credential, status in ((None, 401), (plain, 403), (key, 200)):
                sent = headers if credential is None else {**headers, "Authorization": f"Bearer {credential}"}
                async with session.get(f"{nodes[0].base_url}/metrics", headers=sent) as answer:
                    assert answer.status == status, (headers, status)
        async with session.post(f"{nodes[0].base_url}/metrics") as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
