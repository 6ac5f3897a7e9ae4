"""Those who consume a durable subscription over the socket: who may join, what they are told, and faults."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import pytest

from core.clock import SystemClock
from core.events.subscriptions import store
from tests.harness.organisations import Organisation, Organisations
from tests.harness.stream_client import StreamClient
from tests.harness.waiting import eventually
from tests.hub.stream.consuming import (
    RIGHTS,
    ack_quietly,
    all_done,
    answer,
    came,
    code_of,
    id_of,
    set_status,
    subscribed,
)
from tests.hub.stream.node import Node, numbers_of, serve


class TestJoining:
    """Who may, and what."""

    async def refusal(self, client: StreamClient, item: Any) -> str:
        (said,) = (await client.subscribe(item))["channels"]
        return said["error"]["code"]

    async def test_other_organisations_subscription_does_not_exist(
        self, node: Node, key: str, organisation: Organisation, organisations: Organisations
    ):
        """Nor does an answer with its leases do anything."""
        stranger = await organisations.create()
        channel = await subscribed(node, organisation.id)
        own = await subscribed(node, stranger.id)
        async with node.joined(key, channel) as client, node.joined(await stranger.key(), own) as other:
            assert await self.refusal(other, channel) == "CHANNEL_NOT_FOUND"
            await node.emit(organisation.id)
            event = await client.expect("event")
            stolen = {"type": "ack", "channel": own, "deliveries": [event["delivery"]]}
            assert (await other.ask(stolen))["result"]["lost"] == [event["delivery"]]
            await other.quiet()
            assert (await answer(client, "ack", event))["result"]["done"] == [event["delivery"]]

    @pytest.mark.parametrize("missing", RIGHTS)
    async def test_rights_are_those_of_a_pull(self, node: Node, organisation: Organisation, missing: str):
        channel = await subscribed(node, organisation.id)
        async with node.open(await organisation.key([each for each in RIGHTS if each != missing])) as client:
            assert await self.refusal(client, channel) == "INSUFFICIENT_SCOPE"
        async with node.joined(await organisation.key(RIGHTS), channel):
            pass

    async def test_only_those_delivered_by_socket_without_a_place(
        self, node: Node, organisation: Organisation, key: str
    ):
        pulled = await subscribed(node, organisation.id, delivery="pull")
        channel = await subscribed(node, organisation.id)
        async with node.open(key) as client:
            assert await self.refusal(client, pulled) == "RESOURCE_CONFLICT"
            assert await self.refusal(client, f"subscriptions:{uuid4()}") == "CHANNEL_NOT_FOUND"
            assert await self.refusal(client, "subscriptions") == "CHANNEL_NOT_FOUND"
            assert await self.refusal(client, channel.upper().replace("SUBSCRIPTIONS", "subscriptions")) in (
                "CHANNEL_NOT_FOUND",
            )
            for wrong in ({"offset": "7"}, {"since": "2026-01-01T00:00:00Z"}, {"after_event": str(uuid4())}):
                assert await self.refusal(client, {"channel": channel, **wrong}) == "VALIDATION_ERROR"
            for most in (0, -1, 1001, "7", 2.5, True):
                assert await self.refusal(client, {"channel": channel, "max_in_flight": most}) == "VALIDATION_ERROR"
            first = await client.subscribe({"channel": channel, "max_in_flight": 7})
            again = await client.subscribe({"channel": channel, "max_in_flight": 9}, "agents")
            assert again["channels"][0] == first["channels"][0]
            assert "offset" in again["channels"][1]

    async def test_unsubscribe_gives_back(self, node: Node, organisation: Organisation, key: str):
        """At once, and what was answered in the frame before is done."""
        channel = await subscribed(node, organisation.id)
        async with node.joined(key, channel) as client, node.open(key) as other:
            await node.emit(organisation.id, 3)
            first, *rest = await client.events(3)
            await ack_quietly(client, first)
            assert (await client.ask({"type": "unsubscribe", "channels": [channel]}))["channels"] == [channel]
            await other.subscribe(channel)
            again = await other.events(2)
            assert sorted(numbers_of(again)) == sorted(numbers_of(rest))
            await other.quiet()
            assert code_of(await answer(client, "ack", rest[0])) == "CHANNEL_NOT_FOUND"
            await node.emit(organisation.id)
            await other.expect("event")
            await client.quiet()


class TestLife:
    """Pause, resume, the end of a subscription, of rights, of a node."""

    async def test_pause_and_resume(self, node: Node, organisation: Organisation, key: str):
        """Told to who consumes; answers are taken meanwhile, and nothing is lost."""
        channel = await subscribed(node, organisation.id)
        async with node.joined(key, channel) as client:
            await node.emit(organisation.id)
            event = await client.expect("event")
            await set_status(node, organisation.id, channel, "paused")
            assert await client.expect("subscription") == {
                "type": "subscription",
                "channel": channel,
                "status": "paused",
                "reason": None,
            }
            await node.emit(organisation.id, 2)
            await node.logged(organisation.id, 3)
            assert (await answer(client, "ack", event))["result"]["done"]
            await client.quiet()
            async with node.open(key) as late:
                assert (await late.subscribe(channel))["channels"][0]["status"] == "paused"
            await set_status(node, organisation.id, channel, "active")
            assert (await client.expect("subscription"))["status"] == "active"
            assert len(await client.events(2)) == 2

    async def test_deleted_subscription_ends_its_consumers(self, node: Node, organisation: Organisation, key: str):
        """Each is told, and may have another channel in its place."""
        channel, other = await subscribed(node, organisation.id), await subscribed(node, organisation.id)
        async with node.joined(key, channel) as one, node.joined(key, channel, other) as two:
            async with node.database.transaction(organisation.id) as db:
                await store.remove(db, organisation.id, id_of(channel))
            for client in (one, two):
                told = await client.expect("unsubscribed")
                assert (told["channels"], told["error"]["code"]) == ([channel], "RESOURCE_NOT_FOUND")
            await node.emit(organisation.id)
            event = await two.expect("event")
            assert event["channel"] == other
            (refused,) = (await one.subscribe(channel))["channels"]
            assert refused["error"]["code"] == "CHANNEL_NOT_FOUND"
        assert node.door.counts.consumers == 0

    async def test_drained_node_hands_out_no_more_and_gives_back(
        self, database_url: str, redis_url: str, organisation: Organisation, key: str
    ):
        """Answers are taken until the socket's turn; another node gets the rest at once, not when leases end."""
        async with AsyncExitStack() as stack:
            nodes = [await stack.enter_async_context(serve(database_url, redis_url, SystemClock())) for _ in range(2)]
            channel = await subscribed(nodes[0], organisation.id, ack_seconds=3600.0)
            going = await stack.enter_async_context(nodes[0].joined(key, {"channel": channel, "max_in_flight": 4}))
            await nodes[0].emit(organisation.id, 6)
            await answer(going, "ack", (await came(going, 4))[0])
            had = await came(going, 5)
            await nodes[0].door.drain(SystemClock().monotonic() + 5)
            await going.closed()
            staying = await stack.enter_async_context(nodes[1].joined(key, channel))
            rest = await staying.events(5)
            assert Counter(event["attempt"] for event in rest) == {2: 4, 1: 1}
            assert {event["event"]["id"] for event in rest} > {event["event"]["id"] for event in had[1:]}


class TestFaults:
    """What breaks is told, counted and mended."""

    async def test_desk_that_dies_works_again(self, node: Node, organisation: Organisation, key: str):
        """A subscription that no code can read stands for any bug; when it is gone, consumers are served."""
        channel = await subscribed(node, organisation.id)
        async with node.joined(key, channel) as client:
            async with node.database.transaction(organisation.id) as db:
                await db.execute(
                    "UPDATE subscriptions SET ack_seconds = 'NaN' WHERE org_id = $1 AND id = $2",
                    organisation.id,
                    id_of(channel),
                )
            await node.emit(organisation.id)
            await eventually(lambda: node.door.counts.consuming_restarts, within=60)
            async with node.database.transaction(organisation.id) as db:
                await db.execute(
                    "UPDATE subscriptions SET ack_seconds = 30 WHERE org_id = $1 AND id = $2",
                    organisation.id,
                    id_of(channel),
                )
            event = await client.expect("event", within=60)
            assert (await answer(client, "ack", event))["result"]["done"]

    async def test_client_that_vanishes_in_the_middle_of_answers(
        self, node: Node, organisation: Organisation, key: str
    ):
        """Sockets cut at any moment: all is done in the end, and what came twice came as another attempt."""
        channel = await subscribed(node, organisation.id, max_deliveries=1000)
        await node.emit(organisation.id, 200)
        seen: set[tuple[str, int]] = set()

        async def consume(client: StreamClient, most: int) -> None:
            for _ in range(most):
                event = await client.expect("event")
                came = (event["event"]["id"], event["attempt"])
                assert came not in seen
                seen.add(came)
                await ack_quietly(client, event)

        for cut in range(10):
            async with node.joined(key, channel) as client:
                await consume(client, cut * 3)
                client.socket.transport.abort()
        async with node.joined(key, channel) as client:
            last = asyncio.create_task(consume(client, 1000))
            await all_done(node, organisation.id, channel)
            last.cancel()
            await asyncio.wait([last])
            assert last.cancelled()
        assert len({event for event, _ in seen}) == 200
