"""Events of applications on a real hub: who appends one is read by every way that the hub has."""

from typing import Any

from core.store.engines import EngineUrls
from tests.handlers.webhooks.receiver import receiving
from tests.harness.hub_process import HubProcesses
from tests.harness.organisations import Organisation
from tests.harness.rest_client import RestClient
from tests.harness.stream_client import open_stream
from tests.harness.waiting import eventually

ORDER = {"type": "custom.order.placed", "subject": "order-17", "data": {"total": 99.5}}


async def test_event_comes_by_socket_pull_webhook_and_reading(
    database_url: str, redis_url: str, engines: EngineUrls, organisation: Organisation, hubs: HubProcesses
):
    """The same event with the same position; a socket that comes after it asks by its id; rooms of subjects get their own."""
    urls = EngineUrls(database_url, engines.superuser_url, redis_url)
    hub = await hubs.start(urls=urls, environment={"HUB_OUTBOUND_ALLOW": "127.0.0.0/8"})
    key = await organisation.key()
    async with (
        RestClient(hub.base_url, key, timeout=60) as rest,
        receiving() as receiver,
        open_stream(hub.stream_url, key) as whole,
        open_stream(hub.stream_url, key) as narrow,
    ):
        wanted = {"name": "orders", "types": ["custom.order.*"], "ordered": True}
        pulling = (await rest.call("POST", "/v2/subscriptions", wanted)).body["id"]
        hook = await rest.call("POST", "/v2/webhooks", {"url": receiver.url, "events": ["custom.*"]})
        assert hook.status == 201, hook
        await whole.subscribe("events", "agents")
        await narrow.subscribe("events:order-17")
        await rest.call("POST", "/v2/agents", {"name": "Ada"})
        batch = {"events": [ORDER, {**ORDER, "subject": "order-18"}, {**ORDER, "type": "custom.order.paid"}]}
        said = (await rest.call("POST", "/v2/events", batch)).body
        ids = [each["id"] for each in said["events"]]

        seen = await whole.events(4)
        assert [each["channel"] for each in seen] == ["agents", "events", "events", "events"]
        assert [each["event"]["id"] for each in seen[1:]] == ids
        assert [each["event"]["id"] for each in await narrow.events(2)] == [ids[0], ids[2]]

        body = {"max": 10, "wait_seconds": 20}
        pulled: list[Any] = []

        async def all_pulled() -> bool:
            given = (await rest.call("POST", f"/v2/subscriptions/{pulling}/pull", body)).body["deliveries"]
            await rest.call("POST", f"/v2/subscriptions/{pulling}/ack", {"ack_ids": [each["ack_id"] for each in given]})
            pulled.extend(each["event"] for each in given)
            return len(pulled) == len(ids)

        await eventually(all_pulled, within=60)
        assert {each["id"]: each for each in pulled} == {each["event"]["id"]: each["event"] for each in seen[1:]}
        await eventually(lambda: len(set(receiver.ids)) == len(ids))
        assert {each["id"]: each["data"] for each in receiver.bodies} == dict.fromkeys(ids, ORDER["data"])

        for id, frame in zip(ids, seen[1:], strict=True):
            read = (await rest.call("GET", f"/v2/events/{id}")).body
            assert read == {**frame["event"], "position": frame["offset"]}
        listed = (await rest.call("GET", "/v2/events?type=custom.*&sort=position")).body
        assert [each["id"] for each in listed["data"]] == ids

        last = (await rest.call("POST", "/v2/events", {**ORDER, "expected_version": 2})).event_id
        async with open_stream(hub.stream_url, key) as late:
            (joined,) = (await late.subscribe({"channel": "events:order-17", "after_event": ids[0]}))["channels"]
            assert joined["offset"] == seen[1]["offset"]
            assert [each["event"]["id"] for each in await late.events(2)] == [ids[2], last]
        read = await rest.call("GET", f"/v2/events/{last}")
        assert (read.status, read.body["subject"]) == (200, "order-17")
