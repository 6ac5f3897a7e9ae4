"""The whole hub, as served: an operation called over MessagePack is seen by a client that reads JSON."""

import aiohttp

from tests.harness.hub_process import HubProcesses
from tests.harness.stream_client import PACKED, open_stream


async def test_call_over_msgpack_is_seen_over_json(hubs: HubProcesses):
    """And what both say is described at /asyncapi.json."""
    hub = await hubs.start()
    url = hub.base_url.replace("http", "ws", 1) + "/v2/stream"
    async with (
        open_stream(url, hub.key) as reader,
        open_stream(url, hub.key, subprotocols=[PACKED]) as writer,
        aiohttp.ClientSession() as session,
    ):
        await reader.subscribe("agents")
        made = await writer.ask(
            {"type": "call", "operation": "agents.create", "input": {"name": "Ada", "type": "assistant"}}
        )
        event = (await reader.expect("event"))["event"]
        assert (event["id"], event["data"]) == (made["event_id"], made["result"])
        async with session.get(f"{hub.base_url}/asyncapi.json") as answer:
            described = await answer.json()
        assert {"call", "result", "event"} <= set(described["components"]["messages"])
